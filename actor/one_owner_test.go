package actor

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Guarantee 1. No run of the store can show that other goroutines have no way to the
// map, so this test reads the source. The race detector finds what it does not see.
func TestOneOwner(t *testing.T) {
	fset := token.NewFileSet()
	refuse := func(node ast.Node, when bool, advice string) {
		if when {
			t.Errorf("%s: %s", fset.Position(node.Pos()), advice)
		}
	}
	for _, dir := range []string{".", "..", "../httpapi"} {
		names, _ := filepath.Glob(filepath.Join(dir, "*.go"))
		names = slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
		for _, name := range names {
			file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			var end token.Pos // of the structs, channel types and go statements so far: a later node before end is in one
			for node := range ast.Preorder(file) {
				switch node := node.(type) {
				case *ast.ImportSpec:
					refuse(node, strings.Contains(`"sync" "sync/atomic" "unsafe"`, node.Path.Value), "let one goroutine own what is shared, and send it requests, instead of this import")
				case *ast.MapType:
					refuse(node, dir == "." && name != "table.go", "make this map a field of table, in table.go: only the owner has a table")
				case *ast.StructType, *ast.ChanType, *ast.GoStmt:
					end = max(end, node.End())
				case *ast.Ident:
					refuse(node, dir == "." && node.Name == "table" && node.Pos() < end, "leave the table in run, and send the owner a request: this gives it to other goroutines")
				}
			}
			for _, decl := range file.Decls {
				if v, ok := decl.(*ast.GenDecl); ok && v.Tok == token.VAR && dir == "." {
					for _, spec := range v.Specs {
						for _, id := range spec.(*ast.ValueSpec).Names {
							refuse(id, !strings.HasPrefix(id.Name, "Err"), "make this variable local to run, or a field of table: here every goroutine can use it")
						}
					}
				}
			}
		}
	}
}
