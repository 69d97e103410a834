-- The table of the README, the demo and docker/compose.yaml. users.json maps it.
create table users (
  id            serial primary key,
  username      varchar(255) unique not null,
  email         varchar(255) unique not null,
  password_hash varchar(255) not null,
  first_name    varchar(255),
  last_name     varchar(255),
  date_of_birth date,
  created_at    timestamp default current_timestamp,
  updated_at    timestamp default current_timestamp
);
