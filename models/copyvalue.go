package models

import (
	"database/sql/driver"
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
	anyKind   columnKind = iota // of SQLite: a value of any type, as it is
	intKind                     // int64
	floatKind                   // float64
	textKind                    // string
	blobKind                    // blob
	boolKind                    // bool
	timeKind                    // time.Time in UTC
	otherKind                   // a type that is not copied
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
	case dataType == "timestamp" || dataType == "datetime" || dataType == "date":
		return timeKind
	case has("int"):
		return intKind
	case has("char", "clob", "text"):
		return textKind
	case has("blob"):
		return blobKind
	case has("real", "floa", "doub"):
		return floatKind
	}
	return anyKind
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

// convert returns a value as the kind of a column of the target. Equal values of any
// two databases are equal with ==. nil stands for NULL. A value that would change is an
// error.
func convert(value any, kind columnKind, digits int) (any, error) {
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
	text, isText := value.(string)
	if b, ok := value.(blob); ok {
		text, isText = string(b), true
	}
	switch kind {
	case anyKind:
		return value, nil
	case intKind:
		switch v := value.(type) {
		case int64:
			return v, nil
		case bool:
			if v {
				return int64(1), nil
			}
			return int64(0), nil
		case float64:
			if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
				return int64(v), nil
			}
		}
		if n, err := strconv.ParseInt(text, 10, 64); isText && err == nil {
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
		if f, err := strconv.ParseFloat(text, 64); isText && err == nil {
			return f, nil
		}
	case textKind:
		if isText {
			return text, nil
		}
		if n, ok := value.(int64); ok {
			return strconv.FormatInt(n, 10), nil
		}
	case blobKind:
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
		if b, ok := value.(blob); ok {
			value = string(b)
		}
		if err := s.Scan(value); err != nil {
			return nil, fmt.Errorf("is %s, which is no time", show(value))
		}
		if s.IsZero() {
			return nil, nil
		}
		precision := time.Second
		for range digits {
			precision /= 10
		}
		return s.UTC().Truncate(precision), nil
	}
	return nil, fmt.Errorf("is %s, which is no %s", show(value), kind)
}

func (k columnKind) String() string {
	return []string{"value", "integer", "floating-point number", "text", "blob", "boolean", "time", "value that can be copied"}[k]
}

// show returns a value for an error.
func show(value any) string {
	switch v := value.(type) {
	case string:
		return brief(v)
	case blob: // MySQL's driver returns texts as bytes
		if utf8.ValidString(string(v)) {
			return brief(string(v))
		}
		return "a blob of " + strconv.Itoa(len(v)) + " bytes"
	}
	return fmt.Sprint(value)
}

// Value implements [driver.Valuer]. GORM would take an empty []byte for NULL.
func (b blob) Value() (driver.Value, error) { return []byte(b), nil }
