package lineage

import "strconv"

// OIDs of the server's own types.
const (
	typeBool        = 16
	typeBytea       = 17
	typeName        = 19
	typeInt8        = 20
	typeInt2        = 21
	typeInt4        = 23
	typeText        = 25
	typeOID         = 26
	typeTID         = 27
	typeXID         = 28
	typeCID         = 29
	typeJSON        = 114
	typeJSONB       = 3802
	typeInet        = 869
	typeCidr        = 650
	typeInterval    = 1186
	typeUUID        = 2950
	typeXML         = 142
	typeFloat4      = 700
	typeFloat8      = 701
	typeUnknown     = 705
	typeBpchar      = 1042
	typeVarchar     = 1043
	typeDate        = 1082
	typeTime        = 1083
	typeTimestamp   = 1114
	typeTimestamptz = 1184
	typeTimetz      = 1266
	typeNumeric     = 1700
	typeRecord      = 2249
	typeAnyElement  = 2283
)

// isText reports whether values of the type are character strings.
func isText(typ uint32) bool {
	switch typ {
	case typeText, typeVarchar, typeBpchar, typeName:
		return true
	}
	return false
}

// sqlValueType returns the type of CURRENT_DATE and its kin.
func sqlValueType(op int32) uint32 {
	types := []uint32{
		0, typeDate, typeTimetz, typeTimetz, typeTimestamptz, typeTimestamptz,
		typeTime, typeTime, typeTimestamp, typeTimestamp,
		typeName, typeName, typeName, typeName, typeName, typeName,
	}
	if op < 0 || int(op) >= len(types) {
		return 0
	}
	return types[op]
}

// fieldName names the fields of an anonymous row.
func fieldName(i int) string { return "f" + strconv.Itoa(i+1) }
