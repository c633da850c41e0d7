package mask

// Type OIDs of pg_type.dat that a transform can serve.
const (
	oidBytea       = 17
	oidName        = 19
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidText        = 25
	oidOID         = 26
	oidFloat4      = 700
	oidFloat8      = 701
	oidUnknown     = 705
	oidBPChar      = 1042
	oidVarchar     = 1043
	oidDate        = 1082
	oidTimestamp   = 1114
	oidTimestamptz = 1184
	oidNumeric     = 1700
	oidUUID        = 2950
)

// class groups the types whose values are read and written alike.
type class int

const (
	classNone class = iota // carries null and redact alone
	classText
	classInteger
	classNumeric
	classFloat
	classUUID
	classBytea
	classDate
	classTimestamp
	classTimestamptz
)

func classOf(typeOID uint32) class {
	switch typeOID {
	case oidText, oidVarchar, oidBPChar, oidName, oidUnknown:
		return classText
	case oidInt2, oidInt4, oidInt8, oidOID:
		return classInteger
	case oidNumeric:
		return classNumeric
	case oidFloat4, oidFloat8:
		return classFloat
	case oidUUID:
		return classUUID
	case oidBytea:
		return classBytea
	case oidDate:
		return classDate
	case oidTimestamp:
		return classTimestamp
	case oidTimestamptz:
		return classTimestamptz
	}
	return classNone
}

// typeModOffset is added to the length or precision in a type modifier.
const typeModOffset = 4

// nameBytes is the longest value of type name.
const nameBytes = 63

// textLimit returns how many characters the column's type holds, 0 for any
// number.
func (c Column) textLimit() int {
	switch c.TypeOID {
	case oidVarchar, oidBPChar:
		if c.TypeMod > typeModOffset {
			return int(c.TypeMod - typeModOffset)
		}
	case oidName:
		return nameBytes
	}
	return 0
}

// wholeDigits returns how many digits left of the point a numeric column holds,
// false if its type does not say.
func (c Column) wholeDigits() (digits int, known bool) {
	if c.TypeMod <= typeModOffset {
		return 0, false
	}
	precision := int(c.TypeMod-typeModOffset) >> 16 & 0xffff
	scale := int(c.TypeMod-typeModOffset) & 0x7ff
	if scale >= 1024 { // eleven bits with a sign since PostgreSQL 15
		scale -= 2048
	}
	return max(precision-scale, 0), true
}
