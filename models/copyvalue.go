package models

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A columnKind is the kind of a column's values.
type columnKind int

const (
	anyKind     columnKind = iota // of SQLite: a value of any type, as it is
	numericKind                   // of SQLite: a value of any type, but no text that looks like a number
	intKind                       // int64
	floatKind                     // float64
	textKind                      // string
	blobKind                      // blob
	boolKind                      // bool
	timeKind                      // time.Time in UTC
	otherKind                     // a type that is not copied
)

// A blob is a value of bytes. It is comparable with ==.
type blob string

// kindOf returns the kind of a declared type.
func kindOf(dialect, dataType string) columnKind {
	dataType = strings.ToLower(dataType)
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(dataType, part) {
				return true
			}
		}
		return false
	}
	switch dialect {
	case postgresDialect:
		switch dataType {
		case "smallint", "integer", "bigint":
			return intKind
		case "real", "double precision":
			return floatKind
		case "text", "character varying", "character", "name":
			return textKind
		case "bytea":
			return blobKind
		case "boolean":
			return boolKind
		case "timestamp with time zone", "timestamp without time zone":
			return timeKind
		}
		return otherKind
	case mysqlDialect:
		switch dataType {
		case "tinyint", "smallint", "mediumint", "int", "bigint":
			return intKind
		case "float", "double":
			return floatKind
		case "char", "varchar", "tinytext", "text", "mediumtext", "longtext":
			return textKind
		case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
			return blobKind
		case "datetime", "timestamp":
			return timeKind
		}
		return otherKind
	}
	// The order is that of SQLite's affinities, after the types that drivers convert.
	switch {
	case has("bool"):
		return boolKind
	case strings.HasPrefix(dataType, "timestamp") || strings.HasPrefix(dataType, "datetime") || dataType == "date":
		return timeKind
	case has("int"):
		return intKind
	case has("char", "clob", "text"):
		return textKind
	case has("blob"):
		return blobKind
	case has("real", "floa", "doub"):
		return floatKind
	case dataType == "":
		return anyKind
	}
	return numericKind
}

// affinityOf returns the affinity of a column of SQLite: textKind, floatKind for REAL,
// intKind for INTEGER and NUMERIC, which store values alike, and anyKind for none
// (https://sqlite.org/datatype3.html#determination_of_column_affinity).
func affinityOf(dataType string, strict bool) columnKind {
	dataType = strings.ToLower(dataType)
	has := func(part string) bool { return strings.Contains(dataType, part) }
	switch {
	case has("int"):
		return intKind
	case has("char") || has("clob") || has("text"):
		return textKind
	case has("blob") || dataType == "" || strict && dataType == "any":
		return anyKind
	case has("real") || has("floa") || has("doub"):
		return floatKind
	}
	return intKind
}

// convert returns a value as the kind of a column of the target. from is the kind of the
// column that has the value. Equal values of any two databases are equal with ==. nil
// stands for NULL. A value that would change is an error.
func (c copyColumn) convert(value any, from columnKind) (any, error) {
	if value == nil {
		return nil, nil
	}
	// One form for each type that a driver returns.
	switch v := value.(type) {
	case []byte:
		value = blob(v)
	case int32:
		value = int64(v)
	case float32:
		value = float64(v)
	case uint64:
		if v > math.MaxInt64 {
			return nil, fmt.Errorf("is %d, which is larger than the largest integer", v)
		}
		value = int64(v)
	}
	if b, ok := value.(blob); ok && c.own {
		value = string(b)
	}
	if f, ok := value.(float64); ok && math.IsNaN(f) {
		return nil, errors.New("is NaN, which SQLite and MySQL do not have")
	}
	// Without an affinity SQLite has both 5 and '5' in a column. They must not become
	// one value.
	typed := c.own || from != anyKind && from != blobKind
	text, isText := value.(string)
	isText = isText && typed
	switch c.kind {
	case anyKind:
		switch v := value.(type) {
		case bool:
			return number(v), nil
		case int64, float64, string, blob:
			return v, nil
		}
	case numericKind:
		switch v := value.(type) {
		case bool:
			return number(v), nil
		case float64:
			if v == math.Trunc(v) && math.Abs(v) < 1<<63 {
				return int64(v), nil // so does SQLite
			}
			return v, nil
		case string:
			if !looksNumeric(v) {
				return v, nil
			}
			if n, ok := parseInt(v); ok && isText {
				return n, nil
			}
		case int64, blob:
			return v, nil
		}
	case intKind:
		switch v := value.(type) {
		case int64:
			return v, nil
		case bool:
			return number(v), nil
		case float64:
			if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
				return int64(v), nil
			}
		}
		if n, ok := parseInt(text); ok && isText {
			return n, nil
		}
	case floatKind:
		switch v := value.(type) {
		case float64:
			return v, nil
		case int64:
			if v > -(1<<53) && v < 1<<53 {
				return float64(v), nil
			}
		}
		if f, err := strconv.ParseFloat(text, 64); isText && err == nil && strconv.FormatFloat(f, 'f', -1, 64) == text {
			return f, nil
		}
	case textKind:
		switch v := value.(type) {
		case string:
			return v, nil
		case blob:
			if from == blobKind {
				return string(v), nil
			}
		case int64:
			if typed {
				return strconv.FormatInt(v, 10), nil
			}
		}
	case blobKind:
		if b, ok := value.(blob); ok {
			return b, nil
		}
		if isText {
			return blob(text), nil
		}
	case boolKind:
		switch v := value.(type) {
		case bool:
			return v, nil
		case int64:
			if v == 0 || v == 1 {
				return v == 1, nil
			}
		}
		if b, err := strconv.ParseBool(text); isText && err == nil {
			return b, nil
		}
	case timeKind:
		var s stamp
		if err := s.Scan(value); err != nil || value == "" && !c.own {
			break
		}
		if s.IsZero() && !c.zero {
			return nil, nil
		}
		precision := time.Second
		for range c.digits {
			precision /= 10
		}
		return s.UTC().Truncate(precision), nil
	}
	return nil, fmt.Errorf("is %s, which is no %s", show(value), c.kind)
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// parseInt parses an integer as FormatInt writes it: without +, zeros or spaces.
func parseInt(s string) (n int64, ok bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == s
}

// looksNumeric reports whether SQLite's NUMERIC affinity turns a text into a number.
func looksNumeric(s string) bool {
	s, _, _ = strings.Cut(s, "\x00") // SQLite reads to the end of a C string
	s = strings.Trim(s, " \t\n\v\f\r")
	if digits := strings.TrimLeft(s, "+-"); digits == "" || !strings.ContainsRune("0123456789.", rune(digits[0])) || strings.ContainsAny(s, "_xX") {
		return false // ParseFloat takes inf, nan, 1_000 and 0x1p0, too
	}
	_, err := strconv.ParseFloat(s, 64)
	return err == nil || errors.Is(err, strconv.ErrRange)
}

func (k columnKind) String() string {
	return []string{"value of SQLite", "value that SQLite keeps in a NUMERIC column", "integer", "floating-point number", "text", "blob", "boolean", "time", "value that can be copied"}[k]
}

// show returns a value for an error.
func show(value any) string {
	switch v := value.(type) {
	case string:
		return brief(v)
	case blob:
		if utf8.ValidString(string(v)) {
			return "the blob " + brief(string(v))
		}
		return "a blob of " + strconv.Itoa(len(v)) + " bytes"
	}
	return fmt.Sprint(value)
}

// Value implements [driver.Valuer]. GORM would take an empty []byte for NULL.
func (b blob) Value() (driver.Value, error) { return []byte(b), nil }
