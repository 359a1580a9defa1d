package actor

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// Guarantee 1. No run of the store can show that other goroutines have no way to the
// map, so this test reads the source. The race detector finds what it does not see.
func TestOneOwner(t *testing.T) {
	fset := token.NewFileSet()
	for _, pattern := range []string{"*.go", "../*.go", "../httpapi/*.go"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(node ast.Node) bool {
				advice := ""
				switch node := node.(type) {
				case *ast.ImportSpec:
					if strings.Contains(`"sync" "sync/atomic" "unsafe"`, node.Path.Value) {
						advice = "let one goroutine own what is shared, and send it requests, instead of importing " + node.Path.Value
					}
				case *ast.MapType:
					if pattern == "*.go" && name != "table.go" {
						advice = "make this map a field of table, in table.go: only the owner has a table"
					}
				case *ast.StructType, *ast.ChanType, *ast.GoStmt:
					if pattern == "*.go" && mentions(node, "table") {
						advice = "leave the table in run, and send the owner a request: this gives it to other goroutines"
					}
				case *ast.File:
					for _, decl := range node.Decls {
						v, ok := decl.(*ast.GenDecl)
						if !ok || v.Tok != token.VAR || pattern != "*.go" {
							continue
						}
						for _, spec := range v.Specs {
							for _, name := range spec.(*ast.ValueSpec).Names {
								if !strings.HasPrefix(name.Name, "Err") {
									t.Errorf("%s: make this variable local to run, or a field of table: here every goroutine can use it", fset.Position(name.Pos()))
								}
							}
						}
					}
				}
				if advice != "" {
					t.Errorf("%s: %s", fset.Position(node.Pos()), advice)
				}
				return true
			})
		}
	}
}

// mentions reports whether an identifier in node has the name name.
func mentions(node ast.Node, name string) (found bool) {
	ast.Inspect(node, func(node ast.Node) bool {
		id, ok := node.(*ast.Ident)
		found = found || ok && id.Name == name
		return true
	})
	return found
}
