package main

import "time"

// results is all that was measured, as it is kept in results.json.
type results struct {
	Machine  machine
	Short    bool // it shows that the bench works, and no figures
	Rounds   int
	Accounts int
	Cell     time.Duration // how long each cell ran in each round

	UserRounds int           // rounds of Users
	CommitCell time.Duration // the same of Commits, or two intervals of the log
	Took       time.Duration

	Failures []string // "contender: error"

	Cells     []*cell // throughput
	Commits   []*cell // point writes on a disk, by what a crash costs
	Users     []*cell // workload.Users
	Mail      []*cell // go-imap-sql
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

// values picks one figure of each sample; of a sample that failed it is 0.
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

// failed is the error of the first round that has one.
func (c *cell) failed() string {
	for _, s := range c.Samples {
		if s.Err != "" {
			return s.Err
		}
	}
	return ""
}

func (r *results) find(workload, contender string, cancellable bool, goroutines int) *cell {
	return find(r.Cells, workload, contender, cancellable, goroutines)
}

// snapshotRun is one round of a contender: a paced load without a save, then the
// same with one.
type snapshotRun struct {
	Contender string
	MB        int
	Round     int
	Err       string `json:",omitempty"`

	DataBytes  int64 // size of the database
	Resident   int64 // beyond what the process had before there was one
	PeakExtra  int64 // beyond what was resident before the save
	QuietSave  time.Duration
	LoadedSave time.Duration

	Without, With                 []float64 // statements: nanoseconds, as measure.Percentiles
	WithoutResponse, WithResponse []float64 // the same with the wait for those before

	Slot               time.Duration
	Worst              []time.Duration // of the run with a save, by slots
	SaveBegan, SaveEnd time.Duration
}

// loadSaveRun is one round of loading and saving a file, and of what can be had
// without a database.
type loadSaveRun struct {
	MB    int
	Round int
	Err   string `json:",omitempty"`

	FileBytes         int64
	Copy              time.Duration // cp and fsync
	Read              time.Duration // the file read once through, from the page cache
	ReadFresh         time.Duration // the same into memory that the process has not had before
	ReadCold          time.Duration // the same as Read, but from the disk
	Load, LoadAgain   time.Duration // sql.Open and the first statement; the second time in the same process
	LoadCold          time.Duration // the same as LoadAgain, but from the disk
	Save              time.Duration // driver.Sync after one row was changed
	Vacuum            time.Duration // VACUUM INTO of the file by go-sqlite3, and fsync
	Resident          int64         // after the first load, beyond what the process had before
	ResidentAfterSave int64
}

// growthRun is one round of a contender with a database of one size.
type growthRun struct {
	Contender string
	MB        int
	Round     int
	Err       string `json:",omitempty"`

	DataBytes int64
	Resident  int64     // beyond what the process had before there was a database
	Commit    []float64 // point writes, one goroutine: nanoseconds, as measure.Percentiles
	Same      []float64 // the same, among as many accounts as the smallest database has
	Pin       []float64 // BeginTx(ReadOnly), one read, Rollback; nil: the contender has no such snapshots
}

func (g growthRun) commit() []float64 { return g.Commit }
func (g growthRun) same() []float64   { return g.Same }
func (g growthRun) pin() []float64    { return g.Pin }
