-- Relays are woken after the commit, by who committed: a NOTIFY within makes all commits of the server wait for each other.
create or replace function notify_outbox() returns trigger language plpgsql as $$
begin
    insert into unrelayed_jobs select tenant_id, queue, id from written;
    return null;
end
$$;
alter function notify_outbox rename to outbox_to_be_relayed;
alter trigger outbox_notify on outbox rename to outbox_to_be_relayed;
