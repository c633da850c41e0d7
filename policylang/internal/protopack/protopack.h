#ifndef PROTOPACK_H
#define PROTOPACK_H

#include <stddef.h>
#include <stdint.h>

long protopack_repack(const uint8_t *wire, size_t len, uint8_t *out, size_t room);

#endif
