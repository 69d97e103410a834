-- A second example: what shop.json maps.
create schema shop;

-- Mapped as it is: HSET __{products:AB-12} title Lamp price 19.999
create table shop.products (
  sku   text primary key,
  title text not null,
  price numeric(10,2) not null check (price >= 0),
  stock integer not null default 0 check (stock >= 0),
  tags  text[] not null default '{}'
);

-- A key of two columns: HSET __{line:7:1} sku AB-12 quantity 2
create table shop.order_lines (
  order_id bigint,
  line_no  integer,
  sku      text not null references shop.products,
  quantity integer not null default 1 check (quantity > 0),
  primary key (order_id, line_no)
);

-- Some fields in the table, the others in Redis only, and gone from Redis after half an hour:
-- HSET __{session:5f0c} user 1 last_page /cart
create table shop.sessions (
  token   text primary key,
  user_id integer not null,
  started timestamptz not null default now()
);
