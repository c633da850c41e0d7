package mask

import (
	"encoding/binary"
	"math"
	"strconv"
)

// Units of truncate.
const (
	unitYear  = "year"
	unitMonth = "month"
	unitDay   = "day"
	unitHour  = "hour"
)

const (
	second       = int64(1_000_000) // in microseconds
	hourLength   = 3600 * second
	dayLength    = 24 * hourLength
	firstDay     = -2451545   // the first day PostgreSQL knows, 4714-11-24 BC, from its epoch
	lastDay      = 2145031948 // of a date
	lastStampDay = 106751982  // of a timestamp
)

// truncateRewrite serves the units that hide something of the type: the day of
// a date is the whole of it.
func truncateRewrite(c Column) rewrite {
	unit := c.Transform.Unit
	if unit == "" {
		unit = unitMonth
	}
	switch classOf(c.TypeOID) {
	case classDate:
		if unit != unitYear && unit != unitMonth {
			return nil
		}
		if c.Format == FormatBinary {
			return func(dst, value []byte) ([]byte, bool) { return truncateDate(dst, value, unit) }
		}
	case classTimestamp, classTimestamptz:
		if unit != unitYear && unit != unitMonth && unit != unitDay && unit != unitHour {
			return nil
		}
		if c.Format == FormatBinary {
			return func(dst, value []byte) ([]byte, bool) { return truncateStamp(dst, value, unit) }
		}
	case classNone, classText, classInteger, classNumeric, classFloat, classUUID, classBytea:
		return nil
	}
	return func(dst, value []byte) ([]byte, bool) { return c.truncateText(dst, value, unit) }
}

// truncateDate rewrites the binary form: days from PostgreSQL's epoch.
func truncateDate(dst, value []byte, unit string) ([]byte, bool) {
	if len(value) != 4 {
		return dst, false
	}
	days := int32(binary.BigEndian.Uint32(value))
	if days == math.MaxInt32 || days == math.MinInt32 { // infinity
		return append(dst, value...), true
	}
	truncated := truncateDays(int64(days), unit)
	return binary.BigEndian.AppendUint32(dst, uint32(int32(truncated))), isDay(truncated, lastDay)
}

// truncateStamp rewrites the binary form: microseconds from PostgreSQL's epoch.
func truncateStamp(dst, value []byte, unit string) ([]byte, bool) {
	if len(value) != 8 {
		return dst, false
	}
	micros := int64(binary.BigEndian.Uint64(value))
	if micros == math.MaxInt64 || micros == math.MinInt64 { // infinity
		return append(dst, value...), true
	}
	days, time := truncateMoment(micros, unit)
	return binary.BigEndian.AppendUint64(dst, uint64(days*dayLength+time)), isDay(days, lastStampDay)
}

func isDay(days, last int64) bool { return firstDay <= days && days <= last }

// truncateMoment returns the day and the microseconds within it.
func truncateMoment(micros int64, unit string) (days, time int64) {
	days, time = floorDiv(micros, dayLength)
	if unit == unitHour {
		return days, time - time%hourLength
	}
	return truncateDays(days, unit), 0
}

func truncateDays(days int64, unit string) int64 {
	switch unit {
	case unitYear:
		year, _, _ := civil(days)
		return daysOf(year, 1, 1)
	case unitMonth:
		_, _, day := civil(days)
		return days - day + 1
	}
	return days
}

func floorDiv(a, b int64) (quotient, rest int64) {
	quotient, rest = a/b, a%b
	if rest < 0 {
		quotient, rest = quotient-1, rest+b
	}
	return quotient, rest
}

// The Gregorian calendar, throughout. Years are counted through: the year 0 is
// 1 BC. Within, years begin in March, so that the leap day ends them.
const (
	daysIn400Years = 146097
	epochFromMarch = 730425 // PostgreSQL's epoch, from 0000-03-01
)

// daysOf returns the day of a date, from PostgreSQL's epoch.
func daysOf(year, month, day int64) int64 {
	if month -= 3; month < 0 {
		year, month = year-1, month+12
	}
	cycle, ofCycle := floorDiv(year, 400)
	return cycle*daysIn400Years + ofCycle*365 + ofCycle/4 - ofCycle/100 + daysBefore(month) + day - 1 - epochFromMarch
}

// daysBefore returns the days of the months before one, counted from March.
func daysBefore(month int64) int64 { return (153*month + 2) / 5 }

// civil returns the date of a day, from PostgreSQL's epoch.
func civil(days int64) (year, month, day int64) {
	cycle, ofCycle := floorDiv(days+epochFromMarch, daysIn400Years)
	ofYear := (ofCycle - ofCycle/1460 + ofCycle/36524 - ofCycle/(daysIn400Years-1)) / 365
	dayOfYear := ofCycle - (365*ofYear + ofYear/4 - ofYear/100)
	month = (5*dayOfYear + 2) / 153
	day = dayOfYear - daysBefore(month) + 1
	year = cycle*400 + ofYear
	if month += 3; month > 12 {
		year, month = year+1, month-12
	}
	return year, month, day
}

// truncateText rewrites the ISO text form, the server's default.
func (c Column) truncateText(dst, value []byte, unit string) ([]byte, bool) {
	if text := string(value); text == "infinity" || text == "-infinity" {
		return append(dst, value...), true
	}
	m, ok := c.parseMoment(value)
	if !ok {
		return dst, false
	}
	last := int64(lastStampDay)
	if c.TypeOID == oidDate {
		last = lastDay
	}
	if !isDay(m.days, last) {
		return dst, false
	}
	days, time := truncateDays(m.days, unit), int64(0)
	if c.TypeOID != oidDate {
		days, time = truncateMoment(m.days*dayLength+m.time, unit)
	}
	return c.appendMoment(dst, days, time), isDay(days, last)
}

func (c Column) appendMoment(dst []byte, days, time int64) []byte {
	year, month, day := civil(days)
	before := year <= 0
	if before {
		year = 1 - year
	}
	for bound := int64(1000); bound > year && bound > 1; bound /= 10 {
		dst = append(dst, '0')
	}
	dst = strconv.AppendInt(dst, year, 10)
	dst = appendTwo(append(dst, '-'), month)
	dst = appendTwo(append(dst, '-'), day)
	if c.TypeOID != oidDate {
		dst = appendTwo(append(dst, ' '), time/hourLength)
		dst = append(dst, ":00:00"...)
	}
	if c.TypeOID == oidTimestamptz {
		dst = append(dst, "+00"...)
	}
	if before {
		dst = append(dst, " BC"...)
	}
	return dst
}

func appendTwo(dst []byte, n int64) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10))
}
