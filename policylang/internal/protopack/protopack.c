//go:build linux && cgo

#include "protopack.h"

#include <string.h>

// What generated code and protobuf-c agree on: the ABI of protobuf-c 1.x
// (protobuf-c.h), as far as it is read here.

enum label { LABEL_REQUIRED, LABEL_OPTIONAL, LABEL_REPEATED, LABEL_NONE };

enum type {
	TYPE_INT32, TYPE_SINT32, TYPE_SFIXED32, TYPE_INT64, TYPE_SINT64, TYPE_SFIXED64, TYPE_UINT32, TYPE_FIXED32, TYPE_UINT64,
	TYPE_FIXED64, TYPE_FLOAT, TYPE_DOUBLE, TYPE_BOOL, TYPE_ENUM, TYPE_STRING, TYPE_BYTES, TYPE_MESSAGE
};

enum { FLAG_ONEOF = 1 << 2 };

enum wire_type { VARINT = 0, FIXED64 = 1, PREFIXED = 2 };

typedef struct {
	const char *name;
	uint32_t id;
	enum label label;
	enum type type;
	unsigned quantifier; // offset of the count, or of the id of the oneof's field that is set
	unsigned offset;
	const void *descriptor;
	const void *default_value;
	uint32_t flags;
	unsigned reserved_flags;
	void *reserved2, *reserved3;
} field;

typedef struct {
	uint32_t magic;
	const char *name, *short_name, *c_name, *package_name;
	size_t sizeof_message;
	unsigned n_fields;
	const field *fields; // by id
	// more follows that is not read
} descriptor;

typedef struct {
	const descriptor *descriptor;
	unsigned n_unknown_fields;
	void *unknown_fields;
} message;

size_t __wrap_protobuf_c_message_get_packed_size(const message *m);
size_t __wrap_protobuf_c_message_pack(const message *m, uint8_t *out);

// one_of returns the field of the oneof that begins at f which is set, or NULL,
// and moves *next behind the oneof.
static const field *one_of(const message *m, const field *f, const field *end, const field **next)
{
	uint32_t id = *(const uint32_t *)((const char *)m + f->quantifier);
	const field *found = NULL;

	// In the messages of nodes the fields have ids from 1 on, and there are no others.
	if (f->id == 1 && end[-1].id == (uint32_t)(end - f) && (end[-1].flags & FLAG_ONEOF) && end[-1].quantifier == f->quantifier) {
		*next = end;
		return id >= 1 && id <= end[-1].id ? f + (id - 1) : NULL;
	}
	for (*next = f; *next < end && ((*next)->flags & FLAG_ONEOF) && (*next)->quantifier == f->quantifier; ++*next)
		if ((*next)->id == id)
			found = *next;
	return found;
}

static size_t varint_size(uint64_t v)
{
	size_t n = 1;
	while (v >= 0x80) {
		v >>= 7;
		n++;
	}
	return n;
}

static size_t put_varint(uint64_t v, uint8_t *out)
{
	size_t n = 0;
	while (v >= 0x80) {
		out[n++] = (uint8_t)v | 0x80;
		v >>= 7;
	}
	out[n++] = (uint8_t)v;
	return n;
}

// number returns what a field that is not a string or message holds, as the
// varint that stands for it: negative ones are extended to 64 bits.
static uint64_t number(const field *f, const void *member)
{
	switch (f->type) {
	case TYPE_INT32:
	case TYPE_ENUM:
		return (uint64_t)(int64_t)*(const int32_t *)member;
	case TYPE_UINT32:
		return *(const uint32_t *)member;
	case TYPE_BOOL:
		return *(const int *)member != 0;
	default: // 64 bits
		return *(const uint64_t *)member;
	}
}

// value_size is the size of a value with its tag. PostgreSQL's messages have no
// other types than those here; a test watches over that.
static size_t value_size(const field *f, const void *member)
{
	size_t tag = varint_size((uint64_t)f->id << 3), n;

	switch (f->type) {
	case TYPE_MESSAGE:
		n = *(const message *const *)member ? __wrap_protobuf_c_message_get_packed_size(*(const message *const *)member) : 0;
		return tag + varint_size(n) + n;
	case TYPE_STRING:
		n = *(const char *const *)member ? strlen(*(const char *const *)member) : 0;
		return tag + varint_size(n) + n;
	case TYPE_DOUBLE:
		return tag + 8;
	default:
		return tag + varint_size(number(f, member));
	}
}

static size_t put_message(const message *m, uint8_t *out)
{
	size_t n, prefix;

	if (m == NULL) {
		out[0] = 0;
		return 1;
	}
	n = __wrap_protobuf_c_message_pack(m, out + 1);
	prefix = varint_size(n);
	if (prefix != 1)
		memmove(out + prefix, out + 1, n);
	return put_varint(n, out) + n;
}

static size_t put_value(const field *f, const void *member, uint8_t *out)
{
	uint64_t tag = (uint64_t)f->id << 3;
	size_t n, len;

	switch (f->type) {
	case TYPE_MESSAGE:
		n = put_varint(tag | PREFIXED, out);
		return n + put_message(*(const message *const *)member, out + n);
	case TYPE_STRING:
		len = *(const char *const *)member ? strlen(*(const char *const *)member) : 0;
		n = put_varint(tag | PREFIXED, out);
		n += put_varint(len, out + n);
		if (len > 0)
			memcpy(out + n, *(const char *const *)member, len);
		return n + len;
	case TYPE_DOUBLE: {
		uint64_t bits = number(f, member);
		n = put_varint(tag | FIXED64, out);
		for (int i = 0; i < 8; i++)
			out[n++] = (uint8_t)(bits >> (8 * i));
		return n;
	}
	default:
		n = put_varint(tag | VARINT, out);
		return n + put_varint(number(f, member), out + n);
	}
}

// empty reports whether a field has its default value and is left out.
static int empty(const field *f, const void *member)
{
	switch (f->type) {
	case TYPE_MESSAGE:
		return *(const message *const *)member == NULL;
	case TYPE_STRING:
		return *(const char *const *)member == NULL || **(const char *const *)member == '\0';
	case TYPE_DOUBLE:
		return *(const double *)member == 0;
	default:
		return number(f, member) == 0;
	}
}

// unset reports whether the field of a oneof that should be set is not.
static int unset(const field *f, const void *member)
{
	const void *p = *(const void *const *)member;
	return (f->type == TYPE_MESSAGE || f->type == TYPE_STRING) && (p == NULL || p == f->default_value);
}

// numbers_size is the size of the values of a repeated number, which are packed.
static size_t numbers_size(const uint64_t *values, size_t count)
{
	size_t n = 0;
	for (size_t i = 0; i < count; i++)
		n += varint_size(values[i]);
	return n;
}

size_t __wrap_protobuf_c_message_get_packed_size(const message *m)
{
	const field *f = m->descriptor->fields, *end = f + m->descriptor->n_fields;
	size_t size = 0;

	while (f < end) {
		const field *next = f + 1, *set;
		const void *member = (const char *)m + f->offset;

		if (f->flags & FLAG_ONEOF) {
			set = one_of(m, f, end, &next);
			if (set && !unset(set, (const char *)m + set->offset))
				size += value_size(set, (const char *)m + set->offset);
		} else if (f->label != LABEL_REPEATED) {
			if (!empty(f, member))
				size += value_size(f, member);
		} else {
			size_t count = *(const size_t *)((const char *)m + f->quantifier);
			void *const *values = *(void *const *const *)member;
			if (f->type == TYPE_MESSAGE) {
				for (size_t i = 0; i < count; i++)
					size += value_size(f, &values[i]);
			} else if (count > 0) {
				size_t n = numbers_size((const uint64_t *)values, count);
				size += varint_size((uint64_t)f->id << 3) + varint_size(n) + n;
			}
		}
		f = next;
	}
	return size;
}

size_t __wrap_protobuf_c_message_pack(const message *m, uint8_t *out)
{
	const field *f = m->descriptor->fields, *end = f + m->descriptor->n_fields;
	size_t size = 0;

	while (f < end) {
		const field *next = f + 1, *set;
		const void *member = (const char *)m + f->offset;

		if (f->flags & FLAG_ONEOF) {
			set = one_of(m, f, end, &next);
			if (set && !unset(set, (const char *)m + set->offset))
				size += put_value(set, (const char *)m + set->offset, out + size);
		} else if (f->label != LABEL_REPEATED) {
			if (!empty(f, member))
				size += put_value(f, member, out + size);
		} else {
			size_t count = *(const size_t *)((const char *)m + f->quantifier);
			void *const *values = *(void *const *const *)member;
			if (f->type == TYPE_MESSAGE) {
				for (size_t i = 0; i < count; i++)
					size += put_value(f, &values[i], out + size);
			} else if (count > 0) {
				size += put_varint((uint64_t)f->id << 3 | PREFIXED, out + size);
				size += put_varint(numbers_size((const uint64_t *)values, count), out + size);
				for (size_t i = 0; i < count; i++)
					size += put_varint(((const uint64_t *)values)[i], out + size);
			}
		}
		f = next;
	}
	return size;
}

// Of the parser and its protobuf-c, if they are linked.
extern const descriptor pg_query__parse_result__descriptor __attribute__((weak));
extern message *protobuf_c_message_unpack(const descriptor *, void *allocator, size_t len, const uint8_t *wire) __attribute__((weak));
extern void protobuf_c_message_free_unpacked(message *, void *allocator) __attribute__((weak));

long protopack_repack(const uint8_t *wire, size_t len, uint8_t *out, size_t room)
{
	message *m;
	long n = -1;

	if (!protobuf_c_message_unpack || !(m = protobuf_c_message_unpack(&pg_query__parse_result__descriptor, NULL, len, wire)))
		return -1;
	if (__wrap_protobuf_c_message_get_packed_size(m) <= room) {
		n = (long)__wrap_protobuf_c_message_pack(m, out);
		if ((size_t)n != __wrap_protobuf_c_message_get_packed_size(m))
			n = -1;
	}
	protobuf_c_message_free_unpacked(m, NULL);
	return n;
}
