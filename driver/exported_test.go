package driver_test

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that the package exports the same without cgo. A program that uses it then ends
// with the error that says what to do, and not with one of the compiler.
func TestExported_noCgo(t *testing.T) {
	exported := func(cgo bool) (list []string) {
		add := func(names ...*ast.Ident) {
			for _, name := range names {
				if name.IsExported() {
					list = append(list, name.Name)
				}
			}
		}
		context := build.Default
		context.CgoEnabled = cgo
		pkg, err := context.ImportDir(".", 0)
		require.NoError(t, err)
		for _, name := range append(pkg.GoFiles, pkg.CgoFiles...) {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(pkg.Dir, name), nil, 0)
			require.NoError(t, err)
			for _, decl := range file.Decls {
				switch decl := decl.(type) {
				case *ast.FuncDecl:
					if decl.Recv == nil {
						add(decl.Name)
					}
				case *ast.GenDecl:
					for _, spec := range decl.Specs {
						switch spec := spec.(type) {
						case *ast.TypeSpec:
							add(spec.Name)
						case *ast.ValueSpec:
							add(spec.Names...)
						}
					}
				}
			}
		}
		return list
	}
	require.Contains(t, exported(true), "Backup")
	require.ElementsMatch(t, exported(true), exported(false))
}
