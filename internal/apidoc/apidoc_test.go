// Package apidoc holds the tests of the documentation: everything that users can call has a
// comment, and what the documents name exists.
package apidoc

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that every exported name of every package outside of internal has a doc
// comment or stands in a group that has. Fields and constants are names, too.
func TestExportedNamesAreDocumented(t *testing.T) {
	names := 0
	for _, dir := range []string{"../../driver", "../../snapshot", "../../gormdialect", "../../models"} {
		pkg, fset := parsePackage(t, dir)
		check := func(name, comment string) {
			names++
			switch name[strings.LastIndexByte(name, '.')+1:] {
			case "Error", "Unwrap", "String": // what the language says they are
				return
			}
			if strings.TrimSpace(comment) == "" {
				t.Errorf("%s: %s has no doc comment", dir, name)
			}
		}
		check("the package", pkg.Doc)
		funcs := func(prefix string, list []*doc.Func) {
			for _, f := range list {
				check(prefix+f.Name, f.Doc)
			}
		}
		values := func(list []*doc.Value) {
			for _, v := range list {
				for _, spec := range v.Decl.Specs {
					s := spec.(*ast.ValueSpec)
					if s.Names[0].IsExported() {
						check(s.Names[0].Name, v.Doc+s.Doc.Text()+s.Comment.Text())
					}
				}
			}
		}
		funcs("", pkg.Funcs)
		values(pkg.Consts)
		values(pkg.Vars)
		for _, typ := range pkg.Types {
			check(typ.Name, typ.Doc)
			funcs("", typ.Funcs)
			funcs(typ.Name+".", typ.Methods)
			values(typ.Consts)
			values(typ.Vars)
			if s, ok := typ.Decl.Specs[0].(*ast.TypeSpec).Type.(*ast.StructType); ok {
				group := "" // a comment above several fields is for all of them
				for i, f := range s.Fields.List {
					text := f.Doc.Text() + f.Comment.Text()
					near := i > 0 && fset.Position(f.Pos()).Line == fset.Position(s.Fields.List[i-1].End()).Line+1
					if text == "" && near {
						text = group
					}
					group = text
					for _, n := range f.Names {
						if n.IsExported() {
							check(typ.Name+"."+n.Name, text)
						}
					}
				}
			}
		}
	}
	require.Greater(t, names, 200)
}

// Ensure that the documentation of package driver names everything that the package
// exports, so that its list is complete.
func TestDriver_surface(t *testing.T) {
	pkg, _ := parsePackage(t, "../../driver")
	var names []string
	for _, f := range pkg.Funcs {
		names = append(names, f.Name)
	}
	for _, v := range append(slices.Clone(pkg.Consts), pkg.Vars...) {
		names = append(names, v.Names...)
	}
	for _, typ := range pkg.Types {
		names = append(names, typ.Name)
		for _, f := range typ.Funcs {
			names = append(names, f.Name)
		}
		for _, v := range append(slices.Clone(typ.Consts), typ.Vars...) {
			if typ.Name != "Role" && typ.Name != "TxLock" { // whose values are with the type
				names = append(names, v.Names...)
			}
		}
	}
	for _, name := range names {
		if ast.IsExported(name) {
			require.True(t, strings.Contains(pkg.Doc, "["+name+"]"), "the package documentation lacks [%s]", name)
		}
	}
	require.Greater(t, len(names), 30)
}

// parsePackage parses the files of a package that are built with cgo.
func parsePackage(t *testing.T, dir string) (*doc.Package, *token.FileSet) {
	t.Helper()
	fset := token.NewFileSet()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "_nocgo.go") {
			continue
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		require.NoError(t, err)
		files = append(files, f)
	}
	require.NotEmpty(t, files, dir)
	pkg, err := doc.NewFromFiles(fset, files, dir)
	require.NoError(t, err)
	return pkg, fset
}
