package driver

// RestoreOptions are the options of [Restore] and [RestoreFrom]. Nil is the zero value.
type RestoreOptions struct {
	// Keep is the name of a new file for the state that is replaced: a database like any
	// other, with all commits up to the restore. It is durable before anything is replaced.
	// Its errors are those of [Backup], and nothing is restored after one. After a later
	// error it stays, as a whole backup. Writers wait while it is written. Empty: the state
	// is kept only as sqlite_keep says.
	//
	// With live connections the server writes the file. Only a tool of root or of the
	// server's user may name one.
	Keep string
}
