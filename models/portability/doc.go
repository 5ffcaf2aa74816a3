// Package portability runs the tests of package models on PostgreSQL and
// MySQL/MariaDB servers beside SQLite. It is a module of its own, so that the
// drivers of those servers stay out of the main module's go.mod.
//
// The command ./run starts private servers, runs the tests on them and stops them.
// For servers of your own, set the connection strings and run go test:
//
//	SQLITE_MEM_TEST_POSTGRES='host=… user=… password=… dbname=postgres'
//	SQLITE_MEM_TEST_MYSQL='user:password@tcp(host:port)/'
//
// The user must be allowed to create databases: each test makes its own, named
// sqlite_mem_test_…, and drops it. Tests of a server whose variable is not set are
// skipped; with SQLITE_MEM_TEST_REQUIRE=1 they fail.
package portability
