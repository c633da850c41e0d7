// Package evidence is the tamper-evident record of what a gateway did: an
// append-only journal of records, a Merkle tree over them, signed checkpoints
// and proofs. An auditor asks two things: is this the whole population, and is
// it unaltered? The tree's size answers the one, its root the other.
//
//	j, err := evidence.Open(evidence.Config{Dir: dir, Origin: "gw.example/orders", Key: key})
//	seq, err := j.Append(&record, evidence.Process) // before the response is released
//	for r, err := range evidence.Search(dir, query) { … }
//	report, err := evidence.Verify(dir, keys)
//
// A [Journal] is safe for concurrent use; Append does its own work on the
// caller's goroutine, and that of everybody who waits for the file. Search,
// Verify and Prove read a directory that may be in use.
//
// # What it promises
//
// Append returns once the record is as durable as asked. [Process]: it is in a
// file, and survives kill -9 of the gateway. [Power], [Intent]: that was synced.
// If it cannot be written, Append returns an error, and so
// does every Append until the journal has recovered: the gateway fails closed.
//
// Every BlockInterval, or BlockRecords records, what was appended is sealed and
// a signed checkpoint speaks of it. From then on, changing, dropping,
// reordering or adding a record makes [Verify] fail and say where. Records
// after the newest checkpoint, at most about a second's, can still be changed
// unseen by somebody who may write the files. Whoever has the key too can sign
// another history: keep checkpoints elsewhere, and let witnesses sign them
// ([ProveExtends]). That everything was recorded which happened, no log can
// prove.
//
// A journal that was idle for a minute says so in a record: silence is evidence
// too.
//
// # On disk
//
// A directory belongs to one journal, and one process at a time writes it:
//
//	00000000000000000001.pev  segments, named for the seq of their first record
//	checkpoint                the newest checkpoint, a signed note
//	tail                      records that are in no segment yet
//	hashes                    the log's hashes, for proofs; made again if lost
//	key.pub                   public key of the process that writes
//	lock                      locked while a process writes
//
// A segment is a sequence of frames. A frame is a header of 72 bytes, numbers
// big-endian, and a payload:
//
//	 0  4  CRC-32C (Castagnoli) of bytes 4 to 71 and the payload as stored
//	 4  4  length of the payload as stored
//	 8  1  kind: 1 segment, 2 records, 3 block, 4 checkpoint
//	 9  1  codec: 0 plain, 1 zstd (RFC 8878), 2 Snappy (its block format)
//	10  2  zero
//	12  4  count of records
//	16  8  seq of the first record; of a checkpoint, the number of blocks
//	24  8  least time of the records, in microseconds since 1970
//	32  8  greatest time of the records
//	40 32  Merkle root of the records' leaves; of a checkpoint, the log's
//
// The first frame of a segment, and no other, is of kind segment: JSON with v,
// origin, first_seq, blocks (sealed in the segments before), bundle_digest and
// time. A records frame holds lines of JSON, each ended by a newline: for each
// record its public line and, if it has one, its private line. When a segment is
// closed, after SegmentBytes (before compression) or SegmentAge, and its frames
// are small or there is time for it, it is written anew with large ones, which
// compress better; no line changes.
//
// The tail is two halves of 512 KiB. A half is a sequence of frames from its
// start. A frame of the tail is a header of 24 bytes, numbers big-endian, and
// the lines of one record:
//
//	 0  4  CRC-32C of bytes 4 to 23 and the lines
//	 4  4  length of the lines
//	 8  8  seq of the record
//	16  8  time of the record, in microseconds since 1970
//
// A half ends before the first frame that does not match its checksum or whose
// seq is not the one before and one: behind it may be older frames. The journal
// goes on, after its last segment, with those frames of the half with the lesser
// first seq, and then of the other, whose seq follow. Records are in the segment
// before they leave the tail. A closed journal has none.
//
// # Records, blocks, log
//
// A record's public line is a [Record] as JSON, starting with {"v":1,"seq":N,
// and without sql and params. Those are its private line: {"salt":"…","sql":"…",
// "params":[…]} with 16 random bytes of salt. The public line's member private
// is the base64 of the private line's SHA-256. So private lines can be erased
// ([Journal.Redact]) and every proof still verifies; the salt keeps a text that
// could be guessed from being recognised by its hash.
//
// A record's leaf is RFC 6962's hash of its public line, without the newline. A
// block is the Merkle tree (RFC 6962, section 2.1) over the leaves of
// consecutive records; its frame comes after theirs, and its payload, a
// [Block], is a leaf of the log. The log is a tree of the same kind, as
// golang.org/x/mod/sumdb/tlog and C2SP's tlog-tiles define it. A [Checkpoint]
// is a signed note over the log's size and root; it follows the blocks that it
// speaks of, and reaches its file only when they are on disk.
//
// So a record is proven by the path from its leaf to its block's root, the
// block's header, and the path from there to the root of a signed checkpoint:
// see [Prove]. The population is complete if seq has no gap, and a session if
// its session_end counts as many statements as were recorded.
//
// # After a crash
//
// The last segment is read up to the first frame that is torn or does not match
// its checksum, and cut off there; what the tail has is put behind it; a record
// of kind journal says so, with the count of bytes lost. Blocks and checkpoints go on where they were. If a
// checkpoint speaks of more than can be read, no crash explains it: Open
// refuses with [ErrDamaged] and leaves everything as it is.
package evidence
