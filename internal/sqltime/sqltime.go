// Package sqltime converts between Go's times and the values that SQLite keeps of them. A
// program may come from another driver, whose parameters then say how its database has them.
// They are those of modernc.org/sqlite (_time_format, _time_integer_format, _inttotime,
// _texttotime, _timezone) and that of ncruces/go-sqlite3 (_timefmt).
package sqltime

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Format says how times are kept. The zero Format is go-sqlite3's way, and so is nil for
// reading.
type Format struct {
	layout string         // of a text that is written; empty: go-sqlite3's
	utc    bool           // a text is written in UTC
	unit   time.Duration  // a time is written as a number of these since 1970; 0: as a text
	zone   *time.Location // of texts that are written, and of those that are read and name none; nil: UTC

	readUnit time.Duration // of integers in columns of times; 0: seconds, or milliseconds if they are large
	auto     bool          // numbers are told apart by their size, as ncruces/go-sqlite3 does
	integers bool          // integers in columns of times stay integers
	guess    guess
}

// guess says where a text is a time although its column is not declared as one.
type guess uint8

const (
	nowhere guess = iota
	untyped       // in columns without a type, as expressions are: any text that is a time
	rfc3339       // in columns of any type but TEXT: what is exactly RFC 3339 with nanoseconds
)

// Keys are the parameters.
var Keys = []string{"_time_format", "_time_integer_format", "_inttotime", "_texttotime", "_timezone", "_timefmt"}

var units = map[string]time.Duration{"unix": time.Second, "unix_milli": time.Millisecond, "unix_micro": time.Microsecond, "unix_nano": time.Nanosecond}

// Error names a parameter and what is wrong with it.
type Error struct{ Key, Reason string }

func (e *Error) Error() string { return e.Key + ": " + e.Reason }

// New returns the format of the parameters of a data source name, nil if they have none. An
// error is an [*Error].
func New(params map[string]string) (*Format, error) {
	f, set := &Format{}, false
	for _, key := range Keys {
		value, ok := params[key]
		if !ok {
			continue
		}
		if set = true; key != "_timefmt" && params["_timefmt"] != "" {
			return nil, &Error{"_timefmt", "it cannot apply beside " + key + ", which is another driver's"}
		}
		if reason := f.set(key, value); reason != "" {
			return nil, &Error{key, reason}
		}
	}
	if !set {
		return nil, nil
	}
	if params["_timezone"] != "" && params["_loc"] != "" {
		return nil, &Error{"_timezone", "it cannot apply beside _loc, which is for reading only; leave one of them out"}
	}
	return f, nil
}

// set sets a parameter, and returns what is wrong with it.
func (f *Format) set(key, value string) (reason string) {
	switch key {
	case "_time_format":
		switch value {
		case "sqlite":
		case "datetime":
			f.layout = time.DateTime
		case "string_no_monotonic":
			f.layout = "2006-01-02 15:04:05.999999999 -0700 MST"
		default:
			return "want sqlite, datetime or string_no_monotonic"
		}
	case "_time_integer_format":
		if f.unit = units[value]; f.unit == 0 {
			return "want unix, unix_milli, unix_micro or unix_nano"
		}
		if f.unit < time.Millisecond {
			f.readUnit = f.unit // those are never mistaken for seconds, as modernc.org/sqlite has it
		}
	case "_inttotime", "_texttotime":
		on, err := strconv.ParseBool(value)
		if err != nil {
			return "want 1, true, 0 or false"
		}
		if key == "_inttotime" {
			f.integers = !on
		} else if on {
			f.guess = untyped
		}
	case "_timezone":
		if value == "" || strings.EqualFold(value, "local") {
			return "want the name of a time zone, such as UTC or Europe/Berlin: what is local differs between processes"
		}
		zone, err := time.LoadLocation(value)
		if err != nil {
			return err.Error()
		}
		f.zone = zone
	case "_timefmt":
		return f.setNcruces(value)
	}
	return ""
}

func (f *Format) setNcruces(value string) (reason string) {
	switch value {
	case "auto":
		f.layout, f.auto, f.guess = time.RFC3339Nano, true, rfc3339
	case "rfc3339":
		f.layout, f.guess = time.RFC3339Nano, rfc3339
	case "sqlite":
		f.layout, f.utc, f.auto = time.DateTime, true, true
	case "unixepoch":
		f.unit = time.Second
	case "unixepoch_milli":
		f.unit = time.Millisecond
	case "unixepoch_micro":
		f.unit = time.Microsecond
	case "unixepoch_nano":
		f.unit = time.Nanosecond
	case "julianday", "unixepoch_frac":
		return "a time is not written as a floating-point number here; write one from the program (auto reads them)"
	default:
		return "want auto, sqlite, rfc3339, unixepoch, unixepoch_milli, unixepoch_micro or unixepoch_nano; write any other layout as text from the program"
	}
	f.readUnit = f.unit
	return ""
}

// Location returns the location of times that are read, of _loc or _timezone; nil if neither
// is set. Their values were checked.
func Location(params map[string]string) *time.Location {
	switch name := params["_loc"]; {
	case name == "":
		times, _ := New(params)
		return times.Zone()
	case strings.EqualFold(name, "auto"):
		return time.Local
	default:
		loc, _ := time.LoadLocation(name)
		return loc
	}
}

// Zone is the location of all times that are read, nil if the format has none.
func (f *Format) Zone() *time.Location {
	if f == nil {
		return nil
	}
	return f.zone
}

// Write returns the value of a time: a string or an int64. layout is go-sqlite3's.
func (f *Format) Write(t time.Time, layout string) any {
	switch f.unit {
	case time.Second:
		return t.Unix()
	case time.Millisecond:
		return t.UnixMilli()
	case time.Microsecond:
		return t.UnixMicro()
	case time.Nanosecond:
		return t.UnixNano()
	}
	if f.zone != nil {
		t = t.In(f.zone)
	}
	if f.utc {
		t = t.UTC()
	}
	if f.layout != "" {
		layout = f.layout
	}
	return t.Format(layout)
}

// Sizes at which ncruces/go-sqlite3 takes a number for one of another unit. A smaller one that
// is not negative is a Julian day (https://sqlite.org/lang_datefunc.html#time_values).
const (
	julianDays  = 5373485      // days up to the year 9999
	unixSeconds = 253402300800 // seconds up to then
	julianEpoch = 2440587.5    // the day 1970-01-01
)

// Integer returns the time of an integer in a column of times, false if it stays what it is.
func (f *Format) Integer(n int64) (t time.Time, ok bool) {
	unit := time.Second
	switch {
	case f != nil && f.integers:
		return t, false
	case f != nil && f.readUnit != 0:
		unit = f.readUnit
	case f != nil && f.auto:
		if 0 <= n && n < julianDays {
			return f.Float(float64(n))
		}
		for unit > time.Nanosecond && n >= unixSeconds*int64(time.Second/unit) {
			unit /= 1000
		}
	case n > 1e12 || n < -1e12:
		// As seconds it would be tens of thousands of years away. The product is
		// go-sqlite3's.
		return time.Unix(0, n*int64(time.Millisecond)).UTC(), true
	}
	per := int64(time.Second / unit)
	return time.Unix(n/per, n%per*int64(unit)).UTC(), true
}

// Float is Integer for a floating-point number.
func (f *Format) Float(x float64) (t time.Time, ok bool) {
	if f == nil || !f.auto || math.IsNaN(x) || math.Abs(x) >= unixSeconds {
		return t, false
	}
	if 0 <= x && x < julianDays {
		// A Julian day has half a millisecond, as a float64 of that size.
		return time.UnixMilli(int64(math.Round((x - julianEpoch) * 86400e3))).UTC(), true
	}
	seconds, part := math.Modf(x)
	return time.Unix(int64(seconds), int64(math.Round(part*1e9))).UTC(), true
}

// Text reads a text in a column of times: the formats of go-sqlite3, which are given, and that
// of time.Time.String, which modernc.org/sqlite writes. Any other text is the zero time, as
// in go-sqlite3.
func (f *Format) Text(s string, formats []string) time.Time {
	zone := time.UTC
	bare := strings.TrimSuffix(s, "Z")
	if f != nil && f.zone != nil && len(bare) == len(s) {
		zone = f.zone
	}
	for _, format := range formats {
		if t, err := time.ParseInLocation(format, bare, zone); err == nil {
			return t
		}
	}
	const format = "2006-01-02 15:04:05.999999999 -0700"
	bare, _, _ = strings.Cut(bare, " m=") // the reading of the monotonic clock
	if t, err := time.ParseInLocation(format+" MST", bare, time.UTC); err == nil {
		return t
	}
	// A zone without a name has its offset instead.
	if i := strings.LastIndexAny(bare, "+-"); i > 0 && bare[i-1] == ' ' {
		if t, err := time.ParseInLocation(format, bare[:i-1], time.UTC); err == nil {
			return t
		}
	}
	return time.Time{}
}

// Guesses reports whether a text in a column of another declared type may be a time: see
// Guess.
func (f *Format) Guesses(declared string) bool {
	switch {
	case f == nil:
		return false
	case f.guess == untyped:
		return declared == ""
	}
	return f.guess == rfc3339 && !strings.EqualFold(declared, "text")
}

// Guess returns the time that a text is, or false.
func (f *Format) Guess(s string, formats []string) (time.Time, bool) {
	if f.guess == untyped {
		t := f.Text(s, formats)
		return t, !t.IsZero()
	}
	if len(s) < len("2006-01-02T15:04:05Z") || s[10] != 'T' {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, err == nil && t.Format(time.RFC3339Nano) == s
}
