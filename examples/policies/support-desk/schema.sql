CREATE SCHEMA shop;

CREATE TABLE shop.customers (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    email       text NOT NULL UNIQUE,
    phone       text,
    birthday    date,
    credit_note text
);

CREATE TABLE shop.orders (
    id          bigserial PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES shop.customers ON DELETE CASCADE,
    placed_at   timestamptz NOT NULL DEFAULT now(),
    status      text NOT NULL DEFAULT 'new',
    total       numeric(12,2) NOT NULL CHECK (total >= 0)
);

CREATE TABLE shop.tickets (
    id          bigserial PRIMARY KEY,
    customer_id bigint NOT NULL,
    subject     text NOT NULL,
    status      text NOT NULL DEFAULT 'open'
);

CREATE TABLE shop.ticket_messages (
    id        bigserial PRIMARY KEY,
    ticket_id bigint NOT NULL REFERENCES shop.tickets,
    author    text NOT NULL,
    body      text NOT NULL,
    sent_at   timestamptz NOT NULL DEFAULT now()
);

CREATE VIEW shop.ticket_overview AS
    SELECT t.id, t.subject, t.status, c.name AS customer, c.email AS contact
    FROM shop.tickets t JOIN shop.customers c ON c.id = t.customer_id;
