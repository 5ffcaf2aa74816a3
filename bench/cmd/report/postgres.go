package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/sqlite-mem/sqlite-mem/bench/worker"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// postgresPrograms returns the directory of PostgreSQL's programs, or "" if it is not
// installed. Debian keeps them out of the path.
func postgresPrograms() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is valid
	if len(found) > 0 {
		return filepath.Dir(slices.Max(found))
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	return ""
}

// postgres is a PostgreSQL server of its own, on a Unix socket alone, and a pool of
// connections to it.
type postgres struct {
	programs string
	dir      string
	pool     *sql.DB
}

// postgresUser runs the server if this process is root's, as PostgreSQL refuses that. Its
// package makes the user.
const postgresUser = "postgres"

// command returns a command of PostgreSQL.
func (p *postgres) command(name string, args ...string) *exec.Cmd {
	name = filepath.Join(p.programs, name)
	if os.Geteuid() != 0 {
		return exec.Command(name, args...)
	}
	return exec.Command("runuser", append([]string{"-u", postgresUser, "--", name}, args...)...)
}

// run runs a command to its end. Its output is part of the error.
func (p *postgres) run(name string, args ...string) error {
	cmd := p.command(name, args...)
	cmd.Dir = p.dir
	// Not a pipe: the server that pg_ctl starts would keep it open.
	out, err := os.CreateTemp("", "sqlite-mem-bench-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w: %s", name, err, strings.ReplaceAll(string(bytes.TrimSpace(text)), p.dir, "DIR"))
	}
	return nil
}

// startPostgres starts a server and opens a pool. Neither syncs anything.
func startPostgres() (_ *postgres, err error) {
	p := &postgres{programs: postgresPrograms()}
	if p.programs == "" {
		return nil, errors.New("PostgreSQL is not installed")
	}
	// Not in the directory of the worker, which the server's user may not enter. The name
	// is short, as it is part of the socket's.
	if p.dir, err = os.MkdirTemp("", "sqlite-mem-pg-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if os.Geteuid() == 0 {
		out, err := exec.Command("chown", postgresUser, p.dir).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("chown: %w: %s", err, bytes.TrimSpace(out))
		}
	}
	data := filepath.Join(p.dir, "data")
	if err := p.run("initdb", "-D", data, "-A", "trust", "-U", postgresUser, "-E", "UTF8", "--no-locale", "-N"); err != nil {
		return nil, err
	}
	options := "-c listen_addresses='' -c unix_socket_directories=" + p.dir + " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
	if err := p.run("pg_ctl", "start", "-D", data, "-l", filepath.Join(p.dir, "log"), "-w", "-t", "60", "-o", options); err != nil {
		return nil, err
	}
	p.pool, err = sql.Open("pgx", fmt.Sprintf("host=%s user=%s dbname=postgres sslmode=disable", p.dir, postgresUser))
	if err != nil {
		return nil, err
	}
	p.pool.SetMaxIdleConns(64)
	return p, p.pool.Ping()
}

// close ends the server.
func (p *postgres) close() error {
	var errs []error
	if p.pool != nil {
		errs = append(errs, p.pool.Close())
	}
	data := filepath.Join(p.dir, "data")
	if _, err := os.Stat(filepath.Join(data, "postmaster.pid")); err == nil {
		errs = append(errs, p.run("pg_ctl", "stop", "-D", data, "-m", "immediate", "-t", "30"))
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}

// openPostgres starts PostgreSQL and fills it for point reads and writes.
func (s *session) openPostgres(r request) (err error) {
	if s.postgres, err = startPostgres(); err != nil {
		return err
	}
	for _, query := range []string{
		"CREATE TABLE accounts(id bigint PRIMARY KEY, address text NOT NULL UNIQUE, used bigint NOT NULL, quota bigint NOT NULL)",
		fmt.Sprintf("INSERT INTO accounts SELECT i, 'account'||i||'@example.org', 0, 1000000+i%%1000 FROM generate_series(1, %d) i", r.Accounts),
		"VACUUM ANALYZE accounts",
	} {
		if err := s.postgres.Exec(context.Background(), query); err != nil {
			return err
		}
	}
	conns := make([]*sql.Conn, r.Connections)
	for i := range conns {
		if conns[i], err = s.postgres.pool.Conn(context.Background()); err != nil {
			return err
		}
	}
	for _, c := range conns {
		if err := c.Close(); err != nil {
			return err
		}
	}
	s.loads = &worker.Loads{Execer: s.postgres, DB: s.postgres, Works: workload.All(), Accounts: r.Accounts}
	return s.loads.Settle()
}

var _ workload.DB = (*postgres)(nil)

func (p *postgres) Exec(ctx context.Context, query string) error {
	_, err := p.pool.ExecContext(ctx, query)
	return err
}

func (p *postgres) Read(ctx context.Context, fn func(context.Context, workload.Conn) error) error {
	return fn(ctx, numbered{p.pool})
}

func (p *postgres) Write(ctx context.Context, fn func(context.Context, workload.Conn) error) error {
	return fn(ctx, numbered{p.pool})
}

// Tx is for loads that do not run here.
func (p *postgres) Tx(context.Context, func(context.Context, workload.Conn) error) error {
	return errors.ErrUnsupported
}

// Prepare does nothing, as the driver keeps its statements prepared.
func (p *postgres) Prepare(context.Context, ...string) error { return nil }

// numbered writes the parameter of a statement with one as PostgreSQL has it.
type numbered struct{ *sql.DB }

func (n numbered) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return n.DB.ExecContext(ctx, strings.Replace(query, "?", "$1", 1), args...)
}

func (n numbered) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return n.DB.QueryContext(ctx, strings.Replace(query, "?", "$1", 1), args...)
}

func (n numbered) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return n.DB.QueryRowContext(ctx, strings.Replace(query, "?", "$1", 1), args...)
}
