// # Coming from another driver
//
// These are the parameters of three drivers, and what they are here: mattn/go-sqlite3
// v1.14.53, modernc.org/sqlite v1.62.0 and ncruces/go-sqlite3 v0.37.0. A "-" means that the
// driver ignores the parameter. "as go-sqlite3" means that it is passed on. The sections
// above have the sqlite_* parameters, which only this driver has.
//
//	parameter                   go-sqlite3    modernc          ncruces       here
//	---------                   ----------    -------          -------       ----
//	anything else               -             -                -             refused
//	_auth, _auth_*              yes           -                -             as go-sqlite3
//	_auto_vacuum, _vacuum       yes           yes              -             as go-sqlite3
//	_busy_timeout, _timeout     5000          0                -             60000
//	_cache_size                 yes           -                -             as go-sqlite3
//	_case_sensitive_like        yes           -                -             as go-sqlite3
//	_defensive                  -             0                -             refused, but 0
//	_defer_foreign_keys         yes           -                -             as go-sqlite3
//	_dqs                        -             1                -             refused, but 1
//	_error_rc                   -             0                -             refused, but 0
//	_foreign_keys, _fk          yes           yes              -             as go-sqlite3
//	_ignore_check_constraints   yes           -                -             as go-sqlite3
//	_inttotime                  -             0                -             1
//	_journal_mode, _journal     yes           yes              -             no effect
//	_loc                        yes           -                -             as go-sqlite3
//	_locking_mode               yes           -                -             no effect
//	_mutex                      full          -                -             no
//	_pragma                     -             SQL, sorted      SQL           one pragma each
//	_query_only                 yes           yes              -             as go-sqlite3
//	_recursive_triggers         yes           -                -             as go-sqlite3
//	_secure_delete              yes           -                -             as go-sqlite3
//	_stmt_cache_size            yes           -                -             128
//	_synchronous, _sync         yes           yes              -             a tool's only
//	_texttotime                 -             0                -             0
//	_time_format                -             String           -             sqlite
//	_time_integer_format        -             none             -             none
//	_timefmt                    -             -                auto          see below
//	_timezone                   -             yes              -             yes, but Local
//	_txlock                     deferred      deferred         immediate     immediate
//	_writable_schema            yes           -                -             as go-sqlite3
//	cache                       SQLite's      SQLite's         SQLite's      memory only
//	immutable                   SQLite's      SQLite's         SQLite's      see below
//	mode, modeof, psow          SQLite's      SQLite's         SQLite's      SQLite's
//	nolock                      SQLite's      SQLite's         SQLite's      refused
//	vfs                         SQLite's      yes              SQLite's      refused
//
// A number or a word is the default. An alias of go-sqlite3 works wherever its first name
// does. modernc and ncruces read parameters only of names that begin with "file:", or only
// some of them; here all names have them. [Config] has all of them in Go: those without a
// field of their own are in Params.
//
// Times are what differs most. Without a parameter they are those of go-sqlite3.
//
//   - A time is written as 2006-01-02 15:04:05.999999999-07:00. That is _time_format=sqlite
//     of modernc, whose own default is the text of time.Time.String. That is read too. To
//     write it, use _time_format=string_no_monotonic; the reading of the process's clock
//     behind it (m=+1.5) is not written.
//   - _time_integer_format and _timezone are as with modernc. An integer in a column that is
//     declared as DATE, DATETIME or TIMESTAMP is read as a time, as with go-sqlite3;
//     _inttotime=0, the default of modernc, leaves it an integer.
//   - _texttotime=1 also reads times in columns without a declared type, such as max(d).
//   - _timefmt is auto, sqlite or rfc3339, as with ncruces, or unixepoch, unixepoch_milli,
//     unixepoch_micro or unixepoch_nano. julianday and unixepoch_frac are refused, and so
//     are layouts: a program has to format such a time by itself. auto and sqlite read
//     them. A text that is only a time of day is no time.
//   - A tool on the file keeps the parameters too. So does a live tool, by the server.
//
// A parameter is refused if this driver cannot do what it asks for. immutable needs
// sqlite_in_memory=no. _dqs=0 and
// _defensive=1 need calls that go-sqlite3 does not have. _error_rc=1 is about the texts of
// modernc's errors. vfs and nolock would take away the locks.
package driver
