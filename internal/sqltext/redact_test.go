package sqltext

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// Ensure that values and comments are taken out of SQL, and that the rest can be read.
func TestRedact(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT a FROM t WHERE b='x' AND c = 5":                                "SELECT a FROM t WHERE b=? AND c = ?",
		"INSERT INTO t VALUES (1, -2.5e-3, 0x1F, .5, 1_000, x'00ff', X'', '')": "INSERT INTO t VALUES (?, -?, ?, ?, ?, ?, ?, ?)",
		"SELECT 'it''s', 'a' 'b'":                                              "SELECT ?, ? ?",
		"  SELECT\n\t1 -- secret\n , /* secret */ 2;":                          "SELECT ? , ?",
		"SELECT 1 /* secret":                                                   "SELECT ?",
		"SELECT 'secret":                                                       "SELECT ?",
		"UPDATE `a``b` SET [c 1]=?1, d2=:name, e=@e, f=$f::g(h)":               "UPDATE `a``b` SET [c 1]=?1, d2=:name, e=@e, f=$f::g(h)",
		`SELECT t."a""b" FROM "t 1" JOIN "u" WHERE "t 1".c="secret"`:           `SELECT t."a""b" FROM "t 1" JOIN "u" WHERE "t 1".c=?`,
		`SELECT a IS NOT DISTINCT FROM "secret", "secret".5`:                   `SELECT a IS NOT DISTINCT FROM ?, ??`,
		`CREATE TABLE IF NOT EXISTS "t" ("a")`:                                 `CREATE TABLE IF NOT EXISTS "t" (?)`,
		"ATTACH '/home/secret.db' AS x":                                        "ATTACH ? AS x",
		`VACUUM INTO "/secret.db"; VACUUM main INTO "/secret.db"`:              "VACUUM INTO ?; VACUUM main INTO ?",
		`INSERT INTO "t"`:                                                      `INSERT INTO "t"`, `INSERT OR IGNORE INTO "t"`: `INSERT OR IGNORE INTO "t"`,
		"SELECT 1\x00secret":            "SELECT ?",
		"SELECT a1, größe2, null, true": "SELECT a1, größe2, null, true",
		"":                              "", " -- secret": "", "BEGIN": "BEGIN",
	} {
		require.Equal(t, want, Redact(sql), sql)
	}
	long := Redact("INSERT INTO t VALUES " + strings.Repeat("(é, 'secret'), ", 100_000))
	require.LessOrEqual(t, len(long), maxRedacted+len("…"))
	require.True(t, strings.HasSuffix(long, "…"))
	require.True(t, utf8.ValidString(long))
}

// Ensure that no value and no comment of any text survives, wherever it stands, and that what
// is left is left again.
func FuzzRedact(f *testing.F) {
	for _, sql := range []string{
		"SELECT a FROM t WHERE b='x' -- c", "x'00' \"a\" [b] `c` 1.5e+3 ?1 :a $b(c)", "'a''b' /* c */ \"d\"\"e\"", "0xe+1 1e+1 -\n--\n-", "a\xffb \ufeff", "'", "/*", "x'",
	} {
		f.Add(sql, 3)
	}
	const secret = "s3cretmarker"
	f.Fuzz(func(t *testing.T, sql string, at int) {
		sql, _, _ = strings.Cut(sql, "\x00")
		out := Redact(sql)
		require.LessOrEqual(t, len(out), maxRedacted+len("…"))
		whole := !strings.HasSuffix(out, "…")
		if whole {
			require.Equal(t, out, Redact(out))
		}
		for rest := out; rest != "" && whole; {
			kind, n := Token(rest)
			require.NotEqual(t, Number, kind, out)
			require.NotEqual(t, Text, kind, out)
			require.False(t, kind == Space && rest[0] != ' ', out)
			rest = rest[n:]
		}
		// A value between any two tokens is gone.
		if strings.Contains(sql, secret) {
			return
		}
		i := 0
		for ; at > 0 && i < len(sql); at-- {
			_, n := Token(sql[i:])
			i += n
		}
		if i == len(sql) && unclosed(sql) {
			return // it would stand in the token that is open
		}
		for _, value := range []string{"'" + secret + "'", "x'" + secret + "'", "7" + secret, "1e+7" + secret, "/*" + secret + "*/", "--" + secret + "\n", "'''" + secret} {
			require.NotContains(t, Redact(sql[:i]+" "+value+" "+sql[i:]), secret, value)
		}
	})
}

// unclosed reports whether a quote or a comment of sql goes on behind its end.
func unclosed(sql string) bool {
	n := 0
	for rest := sql; rest != ""; rest = rest[n:] {
		_, n = Token(rest)
	}
	last := sql[len(sql)-n:]
	_, more := Token(last + " ")
	return n > 0 && more > n
}
