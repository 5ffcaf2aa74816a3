package apidoc

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that the files exist which the map and the recipes of DESIGN name, and that the
// functions which the map names are in them.
func TestDesign_map(t *testing.T) {
	b, err := os.ReadFile("../DESIGN.md")
	require.NoError(t, err)
	_, text, found := strings.Cut(string(b), "### The way through the code")
	require.True(t, found)
	text, _, found = strings.Cut(text, "### Glossary")
	require.True(t, found)
	paths := regexp.MustCompile(`(?:driver|snapshot|internal)/[\w/-]+\.(?:go|c)|README\.md`).FindAllString(text, -1)
	require.Greater(t, len(paths), 30)
	for _, path := range paths {
		require.FileExists(t, filepath.Join("..", "..", path))
	}
	// A path is followed by two blanks and what to look for there.
	names := 0
	for _, m := range regexp.MustCompile(`([\w/]+/[\w/-]+\.(?:go|c))  (\w+(?:, \w+)*)`).FindAllStringSubmatch(text, -1) {
		code, err := os.ReadFile(filepath.Join("..", "..", m[1]))
		require.NoError(t, err)
		for name := range strings.SplitSeq(m[2], ", ") {
			require.Regexp(t, `\b`+name+`\(`, string(code), m[1])
			names++
		}
	}
	require.Greater(t, names, 25)
}

// Ensure that the tests exist which TESTING names, in full or by their beginning.
func TestTesting_names(t *testing.T) {
	text, err := os.ReadFile("../TESTING.md")
	require.NoError(t, err)
	var tests strings.Builder
	err = filepath.WalkDir("../..", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		tests.Write(b)
		return err
	})
	require.NoError(t, err)
	names := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`).FindAllString(string(text), -1)
	require.Greater(t, len(names), 50)
	for _, name := range names {
		require.True(t, strings.Contains(tests.String(), "\nfunc "+name), name)
	}
}

// Ensure that the links of the README lead to something.
func TestReadme_links(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	links := regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(string(b), -1)
	require.Greater(t, len(links), 10)
	for _, m := range links {
		if !strings.HasPrefix(m[1], "https://") {
			_, err := os.Stat(filepath.Join("..", "..", m[1]))
			require.NoError(t, err)
		}
	}
	require.LessOrEqual(t, strings.Count(string(b), "\n"), 170, "the front door is as short as that")
}
