package main

import "time"

// results has all results of a report, as results.json stores them.
type results struct {
	Machine  machine
	Short    bool // a run that only shows that the bench works
	Rounds   int
	Accounts int
	Cell     time.Duration // how long each cell ran in each round

	UserRounds int           // rounds of Users
	CommitCell time.Duration // the same for Commits, or two intervals of the log if that is longer
	Took       time.Duration

	Failures []string // "contender: error"

	Cells     []*cell // throughput
	Commits   []*cell // point writes on a disk, by the cost of a crash
	Memory    []*memoryRun
	Users     []*cell // workload.Users
	Mail      []*cell // go-imap-sql
	Live      []*cell // through sockets; the contenders are the names of live.go
	Snapshots []*snapshotRun
	LoadSave  []*loadSaveRun
	Growth    []*growthRun
}

// cell is one contender under one load.
type cell struct {
	Workload    string
	Contender   string
	Cancellable bool
	Goroutines  int
	Samples     []sample // by rounds; see patience
}

// values returns one figure of each sample, or 0 for a failed sample.
func (c *cell) values(pick func(sample) float64) []float64 {
	v := make([]float64, len(c.Samples))
	for i, s := range c.Samples {
		if s.Err == "" {
			v[i] = pick(s)
		}
	}
	return v
}

func nsPerOp(s sample) float64 { return s.NsPerOp }

func percentile(i int) func(sample) float64 {
	return func(s sample) float64 { return s.Percentiles[i] }
}

// failed returns the error of the first failed round, or the empty string.
func (c *cell) failed() string {
	for _, s := range c.Samples {
		if s.Err != "" {
			return s.Err
		}
	}
	return ""
}

// memoryRun is one round of a contender: point writes with many connections. The sizes are
// resident memory over the process before it opened the database.
type memoryRun struct {
	Contender string
	Round     int
	Err       string `json:",omitempty"`

	DataBytes int64 // size of the database
	Before    int64
	Peak      int64 // until the end of the writes
	After     int64 // at rest
}

// snapshotRun is one round of a contender: a paced load without a save, then with one.
type snapshotRun struct {
	Contender string
	MB        int
	Round     int
	Err       string `json:",omitempty"`

	DataBytes  int64 // size of the database
	Resident   int64 // over the process before it opened the database
	PeakExtra  int64 // over the resident memory before the save
	QuietSave  time.Duration
	LoadedSave time.Duration

	Without, With                 []float64 // of statements, in nanoseconds, as measure.Percentiles
	WithoutResponse, WithResponse []float64 // the same, with the wait for earlier statements

	Slot               time.Duration
	Worst              []time.Duration // of the run with a save, by slots
	SaveBegan, SaveEnd time.Duration
}

// loadSaveRun is one round of loading and saving a file, and of comparable operations
// on the file alone.
type loadSaveRun struct {
	MB    int
	Round int
	Err   string `json:",omitempty"`

	FileBytes         int64
	Copy              time.Duration // cp and fsync
	Read              time.Duration // reads the file once, from the page cache
	ReadFresh         time.Duration // the same, into fresh memory
	ReadCold          time.Duration // Read from the disk
	Load, LoadAgain   time.Duration // sql.Open and the first statement; again in the same process
	LoadCold          time.Duration // LoadAgain from the disk
	Save              time.Duration // driver.Sync after a change of one row
	Vacuum            time.Duration // VACUUM INTO of the file by go-sqlite3, and fsync
	Resident          int64         // after the first load, over the process before it
	ResidentAfterSave int64
}

// growthRun is one round of a contender with a database of one size.
type growthRun struct {
	Contender string
	MB        int
	Round     int
	Err       string `json:",omitempty"`

	DataBytes int64
	Resident  int64     // over the process before it opened the database
	Commit    []float64 // point writes by one goroutine, in nanoseconds, as measure.Percentiles
	Same      []float64 // the same, among as many accounts as the smallest database has
	Pin       []float64 // BeginTx(ReadOnly), one read, Rollback; nil: the contender has no such snapshots
}

func (g growthRun) commit() []float64 { return g.Commit }
func (g growthRun) same() []float64   { return g.Same }
func (g growthRun) pin() []float64    { return g.Pin }
