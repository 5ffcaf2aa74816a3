package clients

import (
	"testing"

	"github.com/sqlite-mem/sqlite-mem/internal/crash"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

func TestMain(m *testing.M) {
	crash.Main() // in a child, does not return
	testdb.Main(m)
}
