-- A visitor without an account is known by the name of their session alone, so it is kept nowhere: where a session is named, the
-- hash of it that they are known by stands instead.

-- As the owner of the tables, for all tenants.
alter table conversations no force row level security;
alter table searches no force row level security;
update conversations set session_id = asker where asker like 'visitor:%';
update searches set session_id = searcher where searcher like 'visitor:%' and session_id is not null;
alter table conversations force row level security;
alter table searches force row level security;

alter table conversations add constraint conversations_visitor_check check (asker not like 'visitor:%' or session_id = asker);
alter table searches add constraint searches_visitor_check
    check (searcher is null or searcher not like 'visitor:%' or session_id is null or session_id = searcher);
