CREATE SCHEMA payments;

CREATE DOMAIN payments.currency AS char(3) CHECK (VALUE ~ '^[A-Z]{3}$');

CREATE TABLE payments.cards (
    id         bigint PRIMARY KEY,
    holder     text NOT NULL,
    pan        text NOT NULL,
    pan_last4  text GENERATED ALWAYS AS (right(pan, 4)) STORED,
    expires_on date NOT NULL,
    cvv        text
);

CREATE TABLE payments.charges (
    id         bigint PRIMARY KEY,
    card_id    bigint NOT NULL REFERENCES payments.cards,
    at         timestamptz NOT NULL DEFAULT now(),
    amount     numeric(12,2) NOT NULL,
    currency   payments.currency NOT NULL,
    country    char(2) NOT NULL
);

CREATE VIEW payments.recent AS
    SELECT c.id, c.at, c.amount, c.currency, c.country, k.pan, k.holder
    FROM payments.charges c JOIN payments.cards k ON k.id = c.card_id
    WHERE c.at > now() - interval '1 day';
