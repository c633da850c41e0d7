package bundle

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// envelope is a decoded envelope. Only open's result is verified.
type envelope struct {
	payloadType string
	payload     []byte
	keyID       string
	signature   []byte
}

// wireEnvelope is the envelope's JSON. Its member order is the format's.
type wireEnvelope struct {
	PayloadType string          `json:"payloadType"`
	Payload     string          `json:"payload"`
	Signatures  []wireSignature `json:"signatures"`
}

type wireSignature struct {
	KeyID     string `json:"keyid"`
	Signature string `json:"sig"`
}

// seal signs the payload and verifies what the signer returned, since a remote
// signer may hold another key than the one it names.
func seal(payloadType string, payload []byte, limit int, s Signer) ([]byte, error) {
	key := s.PublicKey()
	message := preAuthEncode(payloadType, payload)
	signature, err := s.Sign(message)
	if err != nil {
		return nil, fmt.Errorf("sign with %q: %w", key.ID(), err)
	}
	if !key.verify(message, signature) {
		return nil, fmt.Errorf("sign with %q: %w: the signer used another key", key.ID(), ErrSignature)
	}
	e := envelope{payloadType: payloadType, payload: payload, keyID: key.ID(), signature: signature}
	data, err := e.encode()
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are possible", ErrTooLarge, len(data), limit)
	}
	return data, nil
}

// open decodes an envelope of the wanted type and verifies its signature.
func open(wantType string, data []byte, limit int, trusted KeyRing) (envelope, error) {
	e, err := decode(data, limit)
	if err != nil {
		return envelope{}, err
	}
	if e.payloadType != wantType {
		return envelope{}, fmt.Errorf("%w: %q, want %q", ErrWrongType, e.payloadType, wantType)
	}
	key, ok := trusted.byID[e.keyID]
	switch {
	case trusted.revoked[e.keyID]:
		return envelope{}, fmt.Errorf("%w: signed by %q, trusted are %q", ErrRevokedKey, e.keyID, trusted.ids())
	case !ok:
		return envelope{}, fmt.Errorf("%w: signed by %q, trusted are %q", ErrUnknownKey, e.keyID, trusted.ids())
	}
	if !key.verify(preAuthEncode(e.payloadType, e.payload), e.signature) {
		return envelope{}, fmt.Errorf("%w: not made by %q over these bytes", ErrSignature, e.keyID)
	}
	return e, nil
}

// decode reads an envelope in its one encoding. Nothing is verified.
func decode(data []byte, limit int) (envelope, error) {
	if len(data) > limit {
		return envelope{}, fmt.Errorf("%w: %d bytes, at most %d are possible", ErrTooLarge, len(data), limit)
	}
	var w wireEnvelope
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return envelope{}, fmt.Errorf("%w: it ends after %d bytes", ErrTruncated, len(data))
		}
		return envelope{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(w.Signatures) != 1 {
		return envelope{}, fmt.Errorf("%w: %d signatures, want 1", ErrMalformed, len(w.Signatures))
	}
	payload, err := base64.StdEncoding.Strict().DecodeString(w.Payload)
	if err != nil {
		return envelope{}, fmt.Errorf("%w: payload: %w", ErrMalformed, err)
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(w.Signatures[0].Signature)
	if err != nil {
		return envelope{}, fmt.Errorf("%w: signature: %w", ErrMalformed, err)
	}
	if len(signature) != ed25519.SignatureSize {
		return envelope{}, fmt.Errorf("%w: signature of %d bytes, want %d", ErrMalformed, len(signature), ed25519.SignatureSize)
	}
	e := envelope{payloadType: w.PayloadType, payload: payload, keyID: w.Signatures[0].KeyID, signature: signature}
	again, err := e.encode()
	if err != nil {
		return envelope{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !bytes.Equal(again, data) {
		return envelope{}, fmt.Errorf("%w: not the one encoding (white space, an unknown or repeated member, an escape or trailing bytes)", ErrMalformed)
	}
	return e, nil
}

func (e envelope) encode() ([]byte, error) {
	return marshal(wireEnvelope{
		PayloadType: e.payloadType,
		Payload:     base64.StdEncoding.EncodeToString(e.payload),
		Signatures:  []wireSignature{{KeyID: e.keyID, Signature: base64.StdEncoding.EncodeToString(e.signature)}},
	})
}

// preAuthEncode is DSSE's PAE: its lengths keep type and payload apart.
func preAuthEncode(payloadType string, payload []byte) []byte {
	out := make([]byte, 0, len("DSSEv1")+len(payloadType)+len(payload)+2*20+4)
	out = append(out, "DSSEv1 "...)
	out = strconv.AppendInt(out, int64(len(payloadType)), 10)
	out = append(out, ' ')
	out = append(out, payloadType...)
	out = append(out, ' ')
	out = strconv.AppendInt(out, int64(len(payload)), 10)
	out = append(out, ' ')
	return append(out, payload...)
}

// marshal encodes v as compact JSON without HTML escapes.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
