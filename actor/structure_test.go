package actor

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// parse returns the files of this package, tests left out, by name.
func parse(t *testing.T) map[string]*ast.File {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]*ast.File)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = file
	}
	return files
}

// Guarantee 1. No run of the store can show that no goroutine has a way to the
// map, so this test reads the source.
func TestOneOwner(t *testing.T) {
	for name, file := range parse(t) {
		for _, decl := range file.Decls {
			fn, isFunc := decl.(*ast.FuncDecl)
			switch {
			case isFunc && name != "table.go":
				checkUseOfTable(t, fn)
			case isFunc && fn.Name.Name != "newTable":
				checkResults(t, fn)
			}
			if gen, ok := decl.(*ast.GenDecl); ok && gen.Tok == token.VAR {
				for _, spec := range gen.Specs {
					if v := spec.(*ast.ValueSpec); !strings.HasPrefix(v.Names[0].Name, "Err") {
						t.Errorf("%s: %s is a variable of the package, which every goroutine can use", name, v.Names[0])
					}
				}
			}
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch node.(type) {
			case *ast.MapType:
				if name != "table.go" {
					t.Errorf("%s: there is a map outside the table", name)
				}
			case *ast.GoStmt:
				t.Errorf("%s: there is a go statement", name)
			case *ast.FuncLit:
				t.Errorf("%s: there is a function literal, which could carry the table away", name)
			}
			return true
		})
	}

	for _, typ := range []reflect.Type{reflect.TypeFor[Store](), reflect.TypeFor[request](), reflect.TypeFor[reply]()} {
		checkNoMap(t, typ, typ.Name())
	}

	synctest.Test(t, func(t *testing.T) {
		store := newRunning(t, 1)
		synctest.Wait()
		defer func() {
			if recover() == nil {
				t.Error("a second call of Run does not panic")
			}
		}()
		store.Run()
	})
}

// checkUseOfTable checks that fn, a function outside table.go, uses a table only if
// it is Run, and then only to call its methods.
func checkUseOfTable(t *testing.T, fn *ast.FuncDecl) {
	t.Helper()
	allowed := make(map[*ast.Ident]bool)
	if fn.Name.Name == "Run" {
		ast.Inspect(fn, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.CallExpr: // table.get(…), or newTable(…)
				switch called := node.Fun.(type) {
				case *ast.SelectorExpr:
					if x, ok := called.X.(*ast.Ident); ok {
						allowed[x] = true
					}
				case *ast.Ident:
					allowed[called] = true
				}
			case *ast.AssignStmt: // table := …
				if x, ok := node.Lhs[0].(*ast.Ident); ok && node.Tok == token.DEFINE {
					allowed[x] = true
				}
			}
			return true
		})
	}
	ast.Inspect(fn, func(node ast.Node) bool {
		if x, ok := node.(*ast.Ident); ok && (x.Name == "table" || x.Name == "newTable") && !allowed[x] {
			t.Errorf("%s passes a table on", fn.Name)
		}
		return true
	})
}

// checkResults checks that fn, a function of table.go, does not give away a table
// or a map.
func checkResults(t *testing.T, fn *ast.FuncDecl) {
	t.Helper()
	if fn.Type.Results == nil {
		return
	}
	ast.Inspect(fn.Type.Results, func(node ast.Node) bool {
		x, isIdent := node.(*ast.Ident)
		_, isMap := node.(*ast.MapType)
		if isMap || isIdent && x.Name == "table" {
			t.Errorf("%s returns a table or a map", fn.Name)
		}
		return true
	})
}

// checkNoMap checks that no value of typ leads to a map.
func checkNoMap(t *testing.T, typ reflect.Type, path string) {
	t.Helper()
	switch typ.Kind() {
	case reflect.Map:
		t.Errorf("%s is a map", path)
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Chan:
		checkNoMap(t, typ.Elem(), path)
	case reflect.Struct:
		for field := range typ.Fields() {
			checkNoMap(t, field.Type, path+"."+field.Name)
		}
	}
}

// Guarantee 4: what the owner never waits for is not even imported, and no loop of
// the table visits its keys.
func TestOwnerNeverWaitsForIOOrLocksOrKeys(t *testing.T) {
	for name, file := range parse(t) {
		for _, imported := range file.Imports {
			if !slices.Contains([]string{`"context"`, `"errors"`, `"math"`}, imported.Path.Value) {
				t.Errorf("%s imports %s", name, imported.Path.Value)
			}
		}
		if name != "table.go" {
			continue
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.ForStmt:
				t.Errorf("%s has a loop", name)
			case *ast.RangeStmt:
				if over, ok := node.X.(*ast.SelectorExpr); !ok || over.Sel.Name != "reading" {
					t.Errorf("%s has a loop over something other than the values that are being read", name)
				}
			case *ast.CallExpr: // clear(m) is a loop, too
				if called, ok := node.Fun.(*ast.Ident); ok && called.Name == "clear" {
					t.Errorf("%s clears a map key by key", name)
				}
			}
			return true
		})
	}
}
