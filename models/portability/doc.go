// Package portability runs the tests of package models on PostgreSQL and MySQL/MariaDB
// servers, and on sqlite-mem. It is a module of its own, so that the servers' drivers
// are not in the main module's go.mod. It also copies the mail of
// go-imap-sql.
//
// The command ./run starts private servers, runs the tests on them and stops them. To
// use other servers, set the connection strings and run go test:
//
//	SQLITE_MEM_TEST_POSTGRES='host=… user=… password=… dbname=postgres'
//	SQLITE_MEM_TEST_MYSQL='user:password@tcp(host:port)/'
//
// The user needs the right to create databases. Each test creates its own, named
// sqlite_mem_test_…, and drops it. Tests of a server without a connection string are
// skipped, or fail with SQLITE_MEM_TEST_REQUIRE=1, which ./run sets.
package portability
