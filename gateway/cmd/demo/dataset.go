package main

// upstreamPassword is the password of every role of the throwaway database.
const upstreamPassword = "demo-only"

// dataset is a small shop. SSNs and card numbers are of the ranges that are
// never issued.
const dataset = `
CREATE ROLE postern LOGIN PASSWORD '` + upstreamPassword + `';
CREATE ROLE ana LOGIN PASSWORD '` + upstreamPassword + `';
CREATE ROLE carl LOGIN PASSWORD '` + upstreamPassword + `';
CREATE ROLE ben LOGIN PASSWORD '` + upstreamPassword + `';
CREATE ROLE orders_ci LOGIN PASSWORD '` + upstreamPassword + `';

CREATE TABLE customers (
    id    int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name  text NOT NULL,
    email text NOT NULL,
    ssn   text NOT NULL,
    card  text NOT NULL,
    since date NOT NULL
);
CREATE TABLE orders (
    id          int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    customer_id int NOT NULL REFERENCES customers,
    item        text NOT NULL,
    total       numeric(10,2) NOT NULL,
    placed      timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE carts (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, customer_id int, item text);

INSERT INTO customers (name, email, ssn, card, since) VALUES
    ('Ida Holm',     'ida.holm@example.com',   '900-12-3456', '4000 0000 0000 0002', '2021-03-04'),
    ('Joao Prata',   'joao@prata.example',     '900-65-4321', '5105 1051 0510 5100', '2022-11-30'),
    ('Mei Lin',      'mei.lin@example.org',    '901-11-2222', '3782 822463 10005',   '2020-01-15'),
    ('Amir Daneshi', 'a.daneshi@example.net',  '902-33-4444', '6011 1111 1111 1117', '2023-07-21');
INSERT INTO orders (customer_id, item, total) VALUES
    (1, 'tea pot', 24.50), (1, 'tea', 6.20), (2, 'lamp', 79.00), (3, 'chair', 120.00), (4, 'rug', 310.00);
INSERT INTO carts (customer_id, item) VALUES (1, 'cup'), (2, 'bulb'), (4, 'mat');

CREATE VIEW contacts AS SELECT id, name, email AS contact FROM customers;

GRANT SELECT ON customers, orders, carts, contacts TO ana, carl, ben, orders_ci;
GRANT DELETE, UPDATE ON carts TO ana, ben;
GRANT INSERT ON orders TO orders_ci;
`
