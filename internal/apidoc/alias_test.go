package apidoc

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that the comment of each public name for a struct of an internal package names every
// field of it. Godoc shows nothing else of such a type.
func TestAliasesAreDocumented(t *testing.T) {
	fields := 0
	for _, dir := range []string{"../../driver", "../../snapshot"} {
		for _, decl := range typeDecls(t, dir) {
			spec := decl.Specs[0].(*ast.TypeSpec)
			target, ok := spec.Type.(*ast.SelectorExpr)
			if !ok || !spec.Assign.IsValid() {
				continue
			}
			pkg := target.X.(*ast.Ident).Name
			for _, inner := range typeDecls(t, filepath.Join("..", pkg)) {
				in := inner.Specs[0].(*ast.TypeSpec)
				s, ok := in.Type.(*ast.StructType)
				if !ok || in.Name.Name != target.Sel.Name {
					continue
				}
				for _, f := range s.Fields.List {
					for _, name := range f.Names {
						if name.IsExported() {
							fields++
							require.Regexp(t, regexp.MustCompile(`(?m)^\t`+name.Name+`\b`), decl.Doc.Text(), spec.Name.Name)
						}
					}
				}
			}
		}
	}
	require.Greater(t, fields, 20)
}

// typeDecls are the declarations of one type each in the Go files of dir.
func typeDecls(t *testing.T, dir string) (decls []*ast.GenDecl) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		require.NoError(t, err)
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.TYPE && len(g.Specs) == 1 {
				decls = append(decls, g)
			}
		}
	}
	return decls
}
