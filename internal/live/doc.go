// Package live lets another process on the machine use a database that a server
// has in memory, through a Unix socket beside the database file.
//
// The server side ([Listen]) gives each tool one driver.Conn of its own. The
// client side ([Dialer]) is a driver.Conn that passes every call on. The package
// knows database/sql/driver and nothing of SQLite: how an error is coded is a
// function that it is given.
//
// # The protocol
//
// Both sides ask the kernel for the user of the other before they read a byte. Then
// they exchange messages. A message begins with its kind and length. It is a CBOR map
// and, behind it, a sequence of CBOR values: arguments, or rows. The first message has
// the version of the protocol. A server refuses any other version with a text; nothing
// falls back.
//
// The tool sends one request at a time, with a number, and reads one answer with
// the same number. Only a cancellation, or the stream of the request, may follow it
// before its answer. The cancellation carries the number too, so one that comes late
// reaches no other statement. One that overtakes its request is kept for it. The tool waits
// for the answer all the same: it says whether the statement was faster.
//
// A request for a control may be followed by a stream of the tool, in pieces of at most 64 KiB
// and with an end of its own. The server takes a piece only when the control takes it. A tool
// that sends nothing for ServerConfig.Idle is ended.
//
// The answer to a query has the first batch of rows. The tool asks for each
// further one, so a slow reader holds nothing in the server but its statement.
// Where the rows say that they must not be read ahead, a batch is one row.
//
// What a tool may conclude when the connection breaks rests on two facts. A message
// counts only when it is whole, so a request that could not be written to its end
// did not begin. And the server writes answers in order. When it ends a session, it
// writes a last message (bye). A tool that reads bye in place of an answer knows
// that its request did not begin. Only then, or if nothing was sent, is the error
// driver.ErrBadConn, and only outside a transaction. At this error database/sql
// tries again. An answer that is lost after the whole request was sent is
// [ErrCommitUnknown] if the request may have committed, else [ErrLost].
// Rows that are lost behind their first batch are the same, as their statement may have
// committed before it. A server that ends interrupts what runs. That undoes one statement,
// but not those before it in the text.
//
// # Memory of the server
//
// A tool that may connect, and means ill, makes the server hold no more than this:
//
//   - For each connection 4 MiB for its buffers, a small request and a small batch of
//     rows, and 16 MiB for the texts of prepared statements.
//   - For all connections together two rooms of 2 GiB and 34 MiB each, for requests of
//     more than 64 KiB: see room. Each holds one request of the largest size, decoded. A
//     request that finds no room waits, unread. One room is for tools that hold a write lock.
//
// SQLite's memory, and the row that it has returned, are those of any connection in the
// server. A large row is sent from where it lies, without a copy. A tool that does not
// read it is ended after ServerConfig.Idle.
//
// # Goroutines and locks of the server
//
// A session has two goroutines: the reader takes messages off the socket, the
// worker makes all calls of the driver.Conn. Both are parked while the tool is
// idle. What they share belongs to the request that comes or runs: its number, how to
// cancel it, its room and its stream, and whether the connection held a lock before it.
// session.mu guards that. When either goroutine ends, the session's context ends,
// which interrupts a running statement. Then the worker rolls back and closes the
// connection. A tool that dies therefore holds its locks no longer than an
// interrupt takes.
package live
