-- How often somebody began to write an answer. The events of each attempt have numbers of their own: a server that has forgotten
-- those of the one before cannot give them twice.
alter table answers add column begun integer not null default 0 check (begun >= 0);
