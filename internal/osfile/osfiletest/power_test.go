//go:build cgo

package osfiletest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// Ensure that the states of a power failure are all those that the rules in
// power.go allow, and no others.
func TestPowerStates(t *testing.T) {
	// A letter stands for a sector of it, . for one of zeros, ? for garbage.
	text := func(b []byte) string {
		var s strings.Builder
		for ; len(b) >= sector; b = b[sector:] {
			switch b[0] {
			case 0:
				s.WriteByte('.')
			case 0xa5:
				s.WriteByte('?')
			default:
				s.WriteByte(b[0])
			}
		}
		return s.String()
	}
	sectors := func(s string) (b []byte) {
		for _, c := range []byte(s) {
			b = append(b, strings.Repeat(string(c), sector)...)
		}
		return b
	}
	// The steps are one operation each: "write a 0 AB" at sector 0, "sync a",
	// "create a", "rename a b", "link a b", "remove a", "syncDir", "truncate a 1", "tell".
	perform := func(t *testing.T, fs PowerFS, steps []string) {
		for _, step := range steps {
			w := append(strings.Fields(step), "", "", "")
			name := filepath.Join(fs.Rec.root, w[1])
			o := powerOp{file: fs.Rec.names[w[1]], name: w[1]}
			var err error
			switch w[0] {
			case "create":
				var f osfile.File
				if f, err = fs.Create(name, 0o600); err == nil {
					err = f.Close()
				}
			case "write":
				o.kind, o.data = opWrite, sectors(w[3])
				fmt.Sscan(w[2], &o.off)
				o.off *= sector
				err = fs.Rec.do(o, func() error {
					f, err := os.OpenFile(name, os.O_WRONLY, 0)
					require.NoError(t, err)
					_, err = f.WriteAt(o.data, o.off)
					return errors.Join(err, f.Close())
				})
			case "truncate":
				o.kind = opTruncate
				fmt.Sscan(w[2], &o.off)
				o.off *= sector
				err = fs.Rec.do(o, func() error { return os.Truncate(name, o.off) })
			case "sync":
				var f osfile.File
				if f, err = fs.Open(name); err == nil {
					err = errors.Join(f.Sync(), f.Close())
				}
			case "rename":
				err = fs.Rename(name, filepath.Join(fs.Rec.root, w[2]))
			case "link":
				err = fs.Link(name, filepath.Join(fs.Rec.root, w[2]))
			case "remove":
				err = fs.Remove(name)
			case "syncDir":
				err = fs.SyncDir(fs.Rec.root)
			case "past": // past the seam
				if w[2] == "" {
					err = os.Remove(name)
				} else {
					err = os.WriteFile(name, sectors(w[2]), 0o600)
				}
			case "tell":
				fs.Rec.Tell()
			default:
				t.Fatal(step)
			}
			require.NoError(t, err, step)
		}
	}
	tests := map[string]struct {
		start string // files, as in want
		steps string
		want  string // states, with "told:" before those after an acknowledgement
	}{
		"a sector is written or not":        {"a=A", "write a 0 B", "a=A | a=B"},
		"a write is torn":                   {"a=AA", "write a 0 BC", "a=AA | a=BA | a=AC | a=BC"},
		"writes are reordered":              {"a=AA", "write a 0 B,write a 1 C", "a=AA | a=BA | a=AC | a=BC"},
		"a sector may be at any moment":     {"a=A", "write a 0 B,write a 0 C", "a=A | a=B | a=C"},
		"what is synced is there":           {"a=A", "write a 0 B,sync a,tell", "a=A | a=B | told:a=B"},
		"what is written later is not":      {"a=AA", "write a 0 B,sync a,tell,write a 1 C", "a=AA | a=BA | told:a=BA | told:a=BC"},
		"the sync of another does not help": {"a=A b=X", "write a 0 B,sync b,tell", "a=A b=X | a=B b=X | told:a=A b=X | told:a=B b=X"},
		"a file grows without its data":     {"a=A", "write a 1 B", "a=A | a=AB | a=A. | a=A?"},
		"and over a gap":                    {"a=A", "write a 2 B", "a=A | a=A.B | a=A.. | a=A?? | a=A?B"},
		"a file is cut or not":              {"a=AB", "truncate a 1", "a=A | a=AB | a=A. | a=A?"},
		"and cut for good":                  {"a=AB", "truncate a 1,sync a,tell", "a=A | a=AB | a=A. | a=A? | told:a=A"},
		"a name is there or not":            {"", "create a", "- | a="},
		"a sync is not one of the name":     {"", "create a,write a 0 A,sync a,tell", "- | a= | a=A | a=. | a=? | told:- | told:a=A"},
		"nor the other way round":           {"", "create a,write a 0 A,syncDir,tell", "- | a= | a=A | a=. | a=? | told:a= | told:a=A | told:a=. | told:a=?"},
		"a file is removed or not":          {"a=A", "remove a", "a=A | -"},
		"and for good":                      {"a=A", "remove a,syncDir,tell", "a=A | - | told:-"},
		"names have no order":               {"a=A b=B", "remove a,remove b", "a=A b=B | b=B | a=A | -"},
		"but each in its own":               {"a=A", "remove a,create a", "a=A | - | a="},
		"a rename is one step, or links":    {"a=A b=B", "rename a b", "a=A b=B | b=A | a=A b=A"},
		"a link is there or not":            {"a=A", "link a b", "a=A | a=A b=A"},
		"both names have the same data":     {"a=A", "link a b,write a 0 B", "a=A | a=B | a=A b=A | a=B b=B"},
		"a rename before its data":          {"a=A b=B", "write a 0 C,rename a b", "a=A b=B | a=C b=B | b=A | b=C | a=A b=A | a=C b=C"},
		"a removed name comes back":         {"a=A b=B c=C", "remove c,rename a b", "a=A b=B c=C | a=A b=B | a=A b=A c=C | b=A c=C | a=A b=A | b=A"},
		"unless it is synced":               {"a=A b=B c=C", "remove c,syncDir,tell,rename a b", "a=A b=B c=C | a=A b=B | told:a=A b=B | told:a=A b=A | told:b=A"},
		"past the seam, data are synced":    {"a=A", "past a BC,tell", "a=A | a=BC | told:a=BC"},
		"and names are not":                 {"a=A", "past a,past b B,tell", "a=A | - | b= | a=A b= | b=B | a=A b=B | told:a=A | told:- | told:b=B | told:a=A b=B"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range strings.Fields(tt.start) {
				name, b, _ := strings.Cut(f, "=")
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), sectors(b), 0o600))
			}
			rec := Record(t, dir)
			perform(t, rec.FS(osfile.OS{}), strings.Split(tt.steps, ","))
			var got []string
			n := rec.PowerStates(t, PowerOptions{}, func(s PowerState) bool {
				var files []string
				contents := testfile.Contents(t, s.Dir)
				for _, name := range sorted(contents) {
					files = append(files, name+"="+text([]byte(contents[name])))
				}
				state := strings.Join(files, " ")
				if state == "" {
					state = "-"
				}
				if s.Told > 0 {
					state = "told:" + state
				}
				got = append(got, state)
				return true
			})
			require.Equal(t, n, len(got))
			want := strings.Split(tt.want, " | ")
			slices.Sort(want)
			slices.Sort(got)
			require.Equal(t, want, got, "%v", rec.steps())
		})
	}
}
