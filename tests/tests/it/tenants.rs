//! No row of one tenant is another's: the schema's rules, with proof that each check notices when its rule is broken;
//! what a connection sees before, within and after a tenant's transaction; jobs; what a tenant's words weigh in a search.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers fail the test that uses them")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use shared::{
    auth::{
        Pepper, Roles, api_key,
        session::{self, NewPerson},
    },
    clock::Clock,
    config::DatabaseConfig,
    db::Database,
    knowledge::EmbedArticle,
    queue::{
        self,
        worker::{Registry, Run},
    },
    tenancy::{Tenant, TenantId},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tests::{
    Settings, TestApp, TestDatabase,
    fixture::{self, Folder},
    start_of_time,
};
use uuid::Uuid;

/// A rule of the schema: a query for what breaks it, and changes that do.
struct Rule {
    says: &'static str,
    offenders: &'static str,
    broken_by: &'static [&'static str],
}

/// What every tenant-owned table's policy says, as PostgreSQL prints it.
const TENANT_POLICY: &str = "(tenant_id = (current_setting('app.tenant_id'::text))::uuid)";

const RULES: &[Rule] = &[
    Rule {
        says: "row-level security is enabled and forced on every table with a tenant",
        offenders: "select oid::regclass::text from tenant_tables where not (relrowsecurity and relforcerowsecurity)",
        broken_by: &[
            "alter table articles disable row level security",
            "alter table articles no force row level security",
            "create table notes (tenant_id uuid not null)",
        ],
    },
    Rule {
        says: "every table with a tenant has the tenant policy, for reading and writing",
        offenders: "select oid::regclass::text from tenant_tables t where not exists (
                        select from pg_policies p
                        where format('%I.%I', p.schemaname, p.tablename)::regclass = t.oid and p.policyname = 'tenant'
                          and p.roles = '{public}' and p.cmd = 'ALL' and p.qual = $tenant_policy
                          and p.with_check = $tenant_policy)",
        broken_by: &[
            "drop policy tenant on tags",
            "alter policy tenant on tags using (true)",
            "alter policy tenant on tags with check (true)",
            "alter policy tenant on tags using (tenant_id = current_setting('app.tenant_id', true)::uuid)",
        ],
    },
    Rule {
        says: "no other policy lets rows in, but for the owners of the listed functions",
        offenders: "select tablename || ' ' || policyname from pg_policies
                    where policyname <> 'tenant' and (policyname, tablename, roles::text, cmd) not in (
                        ('search', 'articles', '{helpcenter_search}', 'SELECT'),
                        ('search', 'passages', '{helpcenter_search}', 'SELECT'),
                        ('search', 'passage_embeddings', '{helpcenter_search}', 'SELECT'),
                        ('search', 'article_tags', '{helpcenter_search}', 'SELECT'),
                        ('search', 'tags', '{helpcenter_search}', 'SELECT'),
                        ('search', 'search_documents', '{helpcenter_search}', 'SELECT'),
                        ('queue', 'outbox', '{helpcenter_queue}', 'ALL'),
                        ('queue', 'unrelayed_jobs', '{helpcenter_queue}', 'ALL'),
                        ('queue', 'finished_jobs', '{helpcenter_queue}', 'ALL'))",
        broken_by: &["create policy staff on tags using (true)", "alter policy search on tags to public"],
    },
    Rule {
        says: "a row with a tenant always has one",
        offenders: "select a.attrelid::regclass::text from pg_attribute a join tenant_tables t on t.oid = a.attrelid
                    where a.attname = 'tenant_id' and not a.attnotnull",
        broken_by: &["create table notes (tenant_id uuid)"],
    },
    Rule {
        says: "only the registry, what schedulers and operators share and the record of migrations belong to no tenant",
        offenders: "select oid::regclass::text from stored_tables where oid not in (select oid from tenant_tables)
                      and oid::regclass::text not in (
                        'tenants', 'scheduler_leader', 'scheduler_lines', 'scheduler_ticks', 'paused_queues',
                        '_sqlx_migrations')",
        broken_by: &["create table notes (body text)", "create table notes (tenant uuid) partition by hash (tenant)"],
    },
    Rule {
        says: "a view asks with the rights of whoever reads it; what cannot do so does not exist",
        offenders: "select oid::regclass::text from pg_class
                    where relkind in ('v', 'm', 'f') and relnamespace in (select oid from our_schemas)
                      and not is_extensions(oid)
                      and not (relkind = 'v' and coalesce(reloptions @> '{security_invoker=true}', false))",
        broken_by: &[
            "create view titles as select tenant_id, title from revisions",
            "create view titles with (security_invoker = false) as select tenant_id, title from revisions",
            "create materialized view titles as select tenant_id, title from revisions",
        ],
    },
    Rule {
        says: "the SECURITY DEFINER functions are exactly these",
        offenders: "select coalesce(listed, existing) from unnest(array[
                        'finished_jobs_trim(text,interval,integer,integer)', 'outbox_cancelled(uuid[])',
                        'outbox_counts()', 'outbox_fail(uuid,uuid,text,timestamp with time zone)',
                        'outbox_finish(uuid[],uuid[],text[],jsonb[])', 'outbox_forget_relayed()',
                        'outbox_hand_back(uuid[],uuid)', 'outbox_oldest(text)', 'outbox_progress(uuid[],uuid[],bigint[],bigint[])',
                        'outbox_relay(text,integer)',
                        'outbox_relayed_page(text,uuid,interval,integer)', 'outbox_start(uuid[],uuid)',
                        'outbox_troubles()',
                        'scheduler_tick(text,timestamp with time zone,bigint,text,text,jsonb,text,integer,boolean,smallint,text)',
                        'search_keyword_candidates(text[],integer[],integer[],boolean,tsquery,uuid[],text[],text,text,integer)',
                        'search_semantic_candidates(text[],text,halfvec,uuid[],text[],text,text,integer)',
                        'search_title_candidates(text[],integer[],integer[],integer)'
                    ]) as listed full join (select oid::regprocedure::text as existing from pg_proc where prosecdef) e
                      on existing = listed
                    where listed is null or existing is null",
        broken_by: &[
            "create function everybody() returns bigint language sql security definer
             return (select count(*) from people)",
            "drop function outbox_counts()",
            "alter function outbox_counts() security invoker",
        ],
    },
    Rule {
        says: "each has a pinned search_path in which temporary tables come last, where they can stand in for nothing",
        offenders: "select oid::regprocedure::text from pg_proc
                    where prosecdef
                      and not coalesce(proconfig @> array['search_path=pg_catalog, public, pg_temp'], false)",
        broken_by: &[
            "alter function outbox_counts() reset search_path",
            "alter function outbox_counts() set search_path = public, pg_catalog, pg_temp",
        ],
    },
    Rule {
        says: "each may be called by the services only",
        offenders: "select oid::regprocedure::text from pg_proc p
                    where prosecdef and (proacl is null or exists (
                        select from aclexplode(proacl) where grantee not in (proowner, 'helpcenter_app'::regrole)))",
        broken_by: &[
            "grant execute on function outbox_counts() to public",
            "create function everybody() returns bigint language sql security definer
             return (select count(*) from people)",
        ],
    },
    Rule {
        says: "each belongs to a role made for it",
        offenders: "select oid::regprocedure::text from pg_proc
                    where prosecdef
                      and proowner::regrole::text <> case when proname like 'search\\_%' then 'helpcenter_search'
                                                          else 'helpcenter_queue' end",
        broken_by: &["alter function outbox_counts() owner to current_user"],
    },
    Rule {
        says: "nobody logs in as these roles, and they bypass nothing",
        offenders: "select rolname::text from pg_roles
                    where rolname in ('helpcenter_app', 'helpcenter_search', 'helpcenter_queue')
                      and (rolcanlogin or rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication)",
        broken_by: &["alter role helpcenter_search login", "alter role helpcenter_app bypassrls"],
    },
    Rule {
        says: "a login of the services bypasses nothing and has no role but helpcenter_app, which has none",
        offenders: "select r.rolname::text from services s join pg_roles r on r.oid = s.member
                    where r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication
                    union all
                    select format('%s has %s', m.member::regrole, m.roleid::regrole) from pg_auth_members m
                    where m.member = 'helpcenter_app'::regrole
                       or m.member in (select member from services) and m.roleid <> 'helpcenter_app'::regrole",
        broken_by: &[
            "alter role helpcenter_test bypassrls",
            "grant helpcenter_search to helpcenter_test",
            "grant pg_read_all_data to helpcenter_app",
        ],
    },
    Rule {
        says: "the services own nothing and may create nothing",
        offenders: "select c.oid::regclass::text from pg_class c where c.relowner in (select role from service_roles)
                    union all
                    select p.oid::regprocedure::text from pg_proc p where p.proowner in (select role from service_roles)
                    union all
                    select n.nspname::text from our_schemas n, service_roles
                    where n.nspowner = role or has_schema_privilege(role, n.oid, 'create')",
        broken_by: &[
            "alter table tags owner to helpcenter_test",
            "alter function outbox_counts() owner to helpcenter_app",
            "grant create on schema public to helpcenter_app",
        ],
    },
    Rule {
        says: "the services have no right that row-level security does not hold back, such as TRUNCATE",
        offenders: "select format('%s on %s', privilege, t.oid::regclass)
                    from stored_tables t, service_roles,
                         unnest(array['truncate', 'references', 'trigger', 'maintain']) as privilege
                    where has_table_privilege(role, t.oid, privilege)",
        broken_by: &["grant truncate on tags to helpcenter_app", "grant all on tags to public"],
    },
    Rule {
        says: "the audit log is written and read, never changed",
        offenders: "select privilege from unnest(array['update', 'delete']) as privilege, service_roles
                    where has_table_privilege(role, 'audit_log', privilege)
                       or has_any_column_privilege(role, 'audit_log', 'update')",
        broken_by: &[
            "grant delete on audit_log to helpcenter_app",
            "grant update (details) on audit_log to helpcenter_app",
        ],
    },
    Rule {
        says: "what language models cost is never deleted",
        offenders: "select role::regrole::text from service_roles
                    where has_table_privilege(role, 'llm_usage', 'delete')",
        broken_by: &["grant delete on llm_usage to helpcenter_app"],
    },
    Rule {
        says: "the owners of the functions have no right beyond what these need",
        offenders: "select format('%s: %s on %s', a.grantee::regrole, a.privilege_type, t.oid::regclass)
                    from stored_tables t, aclexplode(t.relacl) a
                    where a.grantee = 0
                       or a.grantee in ('helpcenter_search'::regrole, 'helpcenter_queue'::regrole)
                      and (a.grantee::regrole::text, t.relname, a.privilege_type) not in (
                        ('helpcenter_search', 'articles', 'SELECT'), ('helpcenter_search', 'passages', 'SELECT'),
                        ('helpcenter_search', 'passage_embeddings', 'SELECT'),
                        ('helpcenter_search', 'article_tags', 'SELECT'), ('helpcenter_search', 'tags', 'SELECT'),
                        ('helpcenter_search', 'search_documents', 'SELECT'),
                        ('helpcenter_queue', 'tenants', 'SELECT'), ('helpcenter_queue', 'outbox', 'SELECT'),
                        ('helpcenter_queue', 'outbox', 'UPDATE'), ('helpcenter_queue', 'outbox', 'INSERT'),
                        ('helpcenter_queue', 'outbox', 'DELETE'),
                        ('helpcenter_queue', 'unrelayed_jobs', 'SELECT'),
                        ('helpcenter_queue', 'unrelayed_jobs', 'INSERT'),
                        ('helpcenter_queue', 'unrelayed_jobs', 'DELETE'),
                        ('helpcenter_queue', 'finished_jobs', 'SELECT'),
                        ('helpcenter_queue', 'finished_jobs', 'INSERT'),
                        ('helpcenter_queue', 'finished_jobs', 'DELETE'),
                        ('helpcenter_queue', 'scheduler_ticks', 'SELECT'),
                        ('helpcenter_queue', 'scheduler_ticks', 'INSERT'),
                        ('helpcenter_queue', 'scheduler_ticks', 'UPDATE'),
                        ('helpcenter_queue', 'scheduler_leader', 'SELECT'),
                        ('helpcenter_queue', 'scheduler_leader', 'UPDATE'))",
        broken_by: &[
            "grant select on people to helpcenter_search",
            "grant insert on people to helpcenter_queue",
            "grant select on tags to public",
        ],
    },
    Rule {
        says: "the tenant is set by a transaction for itself, by nothing that lasts",
        offenders: "select setting from pg_db_role_setting, unnest(setconfig) as setting where setting like 'app.%'
                    union all
                    select setting from pg_proc, unnest(proconfig) as setting where setting like 'app.%'",
        broken_by: &[
            "alter role helpcenter_test set app.tenant_id = '00000000-0000-0000-0000-000000000000'",
            "alter function outbox_counts() set app.tenant_id = ''",
        ],
    },
    Rule {
        says: "a foreign key between tables with tenants holds the tenant, so that it cannot tell what another one has",
        offenders: "select c.conname::text from pg_constraint c
                    join tenant_tables child on child.oid = c.conrelid
                    join tenant_tables parent on parent.oid = c.confrelid
                    where c.contype = 'f' and not exists (
                        select from unnest(c.conkey, c.confkey) as k (own, theirs)
                        where k.own = tenant_column(c.conrelid) and k.theirs = tenant_column(c.confrelid))",
        broken_by: &[
            "create unique index on people (id);
             alter table sessions add foreign key (person_id) references people (id)",
            "alter table people add manager uuid, add other_tenant uuid;
             alter table people add foreign key (other_tenant, manager) references people (tenant_id, id)",
        ],
    },
    Rule {
        says: "every table with a tenant leads to the registry, by itself or through its parent",
        // finished_jobs, unrelayed_jobs: written for every job that ends and begins, from its row in the outbox, which leads
        // there; what is left of a tenant that is gone is trimmed, or dropped by the relay.
        offenders: "select t.oid::regclass::text from tenant_tables t
                    where t.oid::regclass::text not in ('finished_jobs', 'unrelayed_jobs') and not exists (
                        select from pg_constraint c where c.conrelid = t.oid and c.contype = 'f'
                          and c.conkey @> array[tenant_column(t.oid)])",
        broken_by: &["create table notes (tenant_id uuid not null)"],
    },
    Rule {
        says: "what is unique is unique within a tenant",
        // These: the job's id in Redis, made by the server as a UUID and never by a request, so that there is nothing to probe.
        offenders: "select i.indexrelid::regclass::text from pg_index i join tenant_tables t on t.oid = i.indrelid
                    where (i.indisunique or i.indisexclusion) and not tenant_column(t.oid) = any (i.indkey)
                      and i.indexrelid::regclass::text not in ('outbox_pkey', 'finished_jobs_pkey', 'unrelayed_jobs_pkey')",
        broken_by: &["create unique index tags_everywhere on tags (slug)", "alter table people add unique (email)"],
    },
];

/// What the rules have in common, as temporary views.
const TERMS: &str = "
    create temp view our_schemas as
        select * from pg_namespace where nspname not like 'pg\\_%' and nspname <> 'information_schema';
    create function pg_temp.is_extensions(relation oid) returns boolean language sql
        return exists (select from pg_depend
                       where classid = 'pg_class'::regclass and objid = relation and deptype = 'e');
    create temp view stored_tables as
        select * from pg_class where relkind in ('r', 'p') and relnamespace in (select oid from our_schemas)
                                    and not pg_temp.is_extensions(pg_class.oid);
    create function pg_temp.tenant_column(relation oid) returns smallint language sql
        return (select attnum from pg_attribute
                where attrelid = relation and attname = 'tenant_id' and not attisdropped);
    create temp view tenant_tables as select * from stored_tables where pg_temp.tenant_column(oid) is not null;
    create temp view services as
        select m.member from pg_auth_members m join pg_roles r on r.oid = m.roleid where r.rolname = 'helpcenter_app';
    create temp view service_roles as -- 0: everybody
        select member as role from services
        union select oid from pg_roles where rolname = 'helpcenter_app' union select 0::oid;";

async fn offenders(connection: &mut PgConnection, rule: &Rule) -> Vec<String> {
    let sql = rule
        .offenders
        .replace("$tenant_policy", &sqlx_literal(TENANT_POLICY))
        .replace("is_extensions(", "pg_temp.is_extensions(")
        .replace("tenant_column(", "pg_temp.tenant_column(");
    let found = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch_all(connection).await;
    found.unwrap_or_else(|error| panic!("{}: {error}", rule.says))
}

fn sqlx_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[tokio::test]
async fn the_schema_keeps_tenants_apart() {
    let db = TestDatabase::create().await;
    let mut owner = db.owner().await;
    sqlx::raw_sql(TERMS).execute(&mut owner).await.unwrap();
    let mut broken = Vec::new();
    for rule in RULES {
        let offenders = offenders(&mut owner, rule).await;
        if !offenders.is_empty() {
            broken.push(format!("{}: {offenders:?}", rule.says));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[tokio::test]
async fn each_rule_of_the_schema_notices_when_it_is_broken() {
    let db = TestDatabase::create().await;
    let mut owner = db.owner().await;
    sqlx::raw_sql(TERMS).execute(&mut owner).await.unwrap();
    for rule in RULES {
        let before = offenders(&mut owner, rule).await;
        for change in rule.broken_by {
            let mut transaction = owner.begin().await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(*change)).execute(&mut *transaction).await.unwrap();
            let after = offenders(&mut transaction, rule).await;
            assert!(after.len() > before.len(), "nobody noticed `{change}`, although {}", rule.says);
            transaction.rollback().await.unwrap();
        }
    }
}

/// Every table with tenants' rows.
async fn tenant_tables(db: &TestDatabase) -> Vec<String> {
    sqlx::query_scalar(
        "select c.oid::regclass::text from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relkind in ('r', 'p') and a.attname = 'tenant_id' and not a.attisdropped order by 1",
    )
    .fetch_all(&mut db.owner().await)
    .await
    .unwrap()
}

/// A tenant with a row in every table.
async fn filled_tenant(db: &TestDatabase, slug: &str) -> Tenant {
    let tenant = db.tenant(slug).await;
    let folder = Folder::of(&[
        ("guides/one.md", "---\ntitle: One\ntags: [first]\n---\n\nSee [the other one](two.md). ![x](x.svg)\n"),
        ("guides/x.svg", "<svg/>"),
        ("guides/two.md", &fixture::article("Two", "A page about scanners.")),
    ]);
    let report = fixture::import(db, tenant.id, &folder).await;
    assert_eq!((report.created, report.failed.len()), (2, 0), "{report:?}");

    let pepper = Pepper::new(SecretString::from("a pepper that no other test needs to know"));
    let mut tx = db.database.tenant(tenant.id).await.unwrap();
    let person = NewPerson {
        email: "ada@example.com".to_owned(),
        name: "Ada".to_owned(),
        roles: Roles::none(),
        password: "correct horse battery".to_owned(),
    };
    session::create_person(&mut tx, person, "test").await.unwrap();
    let key = api_key::NewApiKey { name: "machine".to_owned(), roles: Roles::none(), scopes: vec![], expires_at: None };
    api_key::create(&mut tx, &pepper, &key, "test").await.unwrap();
    tx.commit().await.unwrap();
    let (clock, lifetime) = (Clock::fixed(start_of_time()), Duration::from_secs(60));
    let (email, password) = ("ada@example.com", "correct horse battery".to_owned());
    let begun = session::sign_in(&db.database, &pepper, &clock, lifetime, tenant.id, email, password).await.unwrap();
    assert!(begun.is_some());
    sqlx::query(
        "insert into passage_embeddings (tenant_id, passage_id, article_id, ordinal, model, embedding)
         select tenant_id, id, article_id, ordinal, 'by hand', array_fill(0.05, array[384])::halfvec from passages where tenant_id = $1",
    )
    .bind(tenant.id.uuid())
    .execute(&mut db.owner().await)
    .await
    .unwrap();
    sqlx::query(
        "insert into finished_jobs (tenant_id, id, queue, job, payload, outcome, attempts, created_at)
         select tenant_id, uuidv7(), queue, job, payload, 'done', 1, now() from outbox where tenant_id = $1",
    )
    .bind(tenant.id.uuid())
    .execute(&mut db.owner().await)
    .await
    .unwrap();
    for change in [
        "update articles set slug = 'former-two' where tenant_id = $1 and slug = 'two'",
        "update articles set slug = 'two' where tenant_id = $1 and slug = 'former-two'",
        "insert into related_articles (tenant_id, article_id, related_id, position)
         select a.tenant_id, a.id, b.id, 0 from articles a join articles b on b.tenant_id = a.tenant_id and b.slug = 'two'
         where a.tenant_id = $1 and a.slug = 'one'",
        "insert into article_votes (tenant_id, article_id, reader, is_helpful, revision_id)
         select tenant_id, id, 'person:ada', true, published_revision_id from articles where tenant_id = $1 and slug = 'one'",
        "insert into article_reports (tenant_id, article_id, reader, kind, revision_id)
         select tenant_id, id, 'person:ada', 'OUTDATED', published_revision_id from articles where tenant_id = $1 and slug = 'one'",
        "insert into bookmarks (tenant_id, article_id, reader)
         select tenant_id, id, 'person:ada' from articles where tenant_id = $1 and slug = 'one'",
        "insert into article_views (tenant_id, article_id, reader)
         select tenant_id, id, 'person:ada' from articles where tenant_id = $1 and slug = 'one'",
        "insert into contextual_rules (tenant_id, pattern) values ($1, '/guides/*')",
        "insert into contextual_rule_articles (tenant_id, rule_id, article_id, position)
         select r.tenant_id, r.id, a.id, 0 from contextual_rules r join articles a on a.tenant_id = r.tenant_id
         where r.tenant_id = $1 and a.slug = 'one'",
        "insert into article_suggestions (tenant_id, reader, title, article_id)
         select tenant_id, 'person:ada', 'More', id from articles where tenant_id = $1 and slug = 'one'",
        "insert into imports (tenant_id, source, default_category, is_dry_run, archives_removed, size_bytes, requested_by)
         values ($1, 'docs', 'General', false, false, 1, 'person:ada')",
        "insert into import_chunks (tenant_id, import_id, ordinal, bytes)
         select tenant_id, id, 0, '\\x00' from imports where tenant_id = $1",
        "insert into synonyms (tenant_id, terms, words) values ($1, '{SSO, login}', '{sso, login}')",
        "insert into search_pins (tenant_id, query, article_id, position)
         select tenant_id, 'first steps', id, 0 from articles where tenant_id = $1 and slug = 'one'",
        "insert into searches (tenant_id, searcher, query, normalised, result_count, article_ids, took_ms, is_degraded)
         values ($1, 'person:ada', 'Scanner', 'scanner', 1, '{}', 5, false)",
        "insert into llm_usage (tenant_id, purpose, is_own_model, provider, model, at, input_tokens, output_tokens, is_estimated)
         values ($1, 'answer', false, 'api.example.com', 'a-model', now(), 1, 1, true)",
        "insert into llm_budget_alerts (tenant_id, day, budget, at) values ($1, '2026-06-01', 'usd', now())",
        "insert into llm_settings (tenant_id, provider, updated_at) values ($1, 'extractive', now())",
        "insert into search_clicks (tenant_id, search_id, article_id, position)
         select s.tenant_id, s.id, a.id, 1 from searches s join articles a on a.tenant_id = s.tenant_id and a.slug = 'two'
         where s.tenant_id = $1",
        "insert into conversations (tenant_id, asker, session_id) values ($1, 'person:ada', 'monday')",
        "insert into answers (tenant_id, conversation_id, question, roles)
         select tenant_id, id, 'Where is the scanner?', '{}' from conversations where tenant_id = $1",
        "insert into answer_passages (tenant_id, answer_id, marker, article_id, revision_id, first_ordinal, last_ordinal, slug, title,
                                      heading_path, body, score)
         select n.tenant_id, n.id, 1, a.id, a.published_revision_id, 0, 0, a.slug, 'Two', '{}', 'A page about scanners.', 0.5
         from answers n join articles a on a.tenant_id = n.tenant_id and a.slug = 'two' where n.tenant_id = $1",
        "insert into answer_outcomes (tenant_id, answer_id, outcome)
         select tenant_id, id, 'refused' from answers where tenant_id = $1",
        "insert into answer_cache (tenant_id, key, answer_id)
         select tenant_id, sha256('question'), id from answers where tenant_id = $1",
        "insert into handovers (tenant_id, conversation_id, reason)
         select tenant_id, id, 'customer_request' from conversations where tenant_id = $1",
        "insert into memories (tenant_id, asker, kind, key, body, confidence)
         values ($1, 'person:ada', 'fact', sha256('scanner'), 'I use a scanner', 0.5)",
    ] {
        sqlx::query(change).bind(tenant.id.uuid()).execute(&mut db.owner().await).await.unwrap();
    }
    for table in tenant_tables(db).await {
        assert!(
            count(db, &table, tenant.id).await > 0,
            "{table} has no row: the tests below would prove nothing about it"
        );
    }
    tenant
}

/// The columns of a table that are written, not computed.
async fn stored_columns(db: &TestDatabase, table: &str) -> String {
    sqlx::query_scalar(
        "select string_agg(quote_ident(column_name), ', ') from information_schema.columns
         where table_schema = 'public' and table_name = $1 and is_generated = 'NEVER'",
    )
    .bind(table)
    .fetch_one(&mut db.owner().await)
    .await
    .unwrap()
}

/// How many rows a tenant has in a table, as the owner sees it.
async fn count(db: &TestDatabase, table: &str, tenant: TenantId) -> i64 {
    let sql = format!("select count(*) from {table} where tenant_id = $1");
    let counted = sqlx::query_scalar(AssertSqlSafe(sql)).bind(tenant.uuid()).fetch_one(&mut db.owner().await).await;
    counted.unwrap()
}

/// Asks for every row of a table without naming a tenant, as a query would that forgot to, and counts the foreign ones.
async fn rows_of_another_tenant(database: &Database, tenant: TenantId, table: &str) -> usize {
    let mut tx = database.tenant(tenant).await.unwrap();
    let sql = format!("select tenant_id from {table}");
    let owners: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(tx.connection()).await.unwrap();
    assert!(owners.contains(&tenant.uuid()), "{table}: a tenant sees its own rows");
    owners.into_iter().filter(|owner| *owner != tenant.uuid()).count()
}

#[tokio::test]
async fn a_query_that_forgets_the_tenant_sees_no_foreign_row_and_without_row_level_security_it_would() {
    let db = TestDatabase::create().await;
    let (acme, globex) = (filled_tenant(&db, "acme").await, filled_tenant(&db, "globex").await);
    let tables = tenant_tables(&db).await;
    for table in &tables {
        assert_eq!(rows_of_another_tenant(&db.database, acme.id, table).await, 0, "{table}");
        assert_eq!(rows_of_another_tenant(&db.database, globex.id, table).await, 0, "{table}");
    }
    // The same question where the owner took the protection away: it is this that answered above.
    let mut owner = db.owner().await;
    for table in &tables {
        let sql = format!("alter table {table} disable row level security");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut owner).await.unwrap();
        let foreign = rows_of_another_tenant(&db.database, acme.id, table).await;
        assert!(foreign > 0, "{table}: this test would pass without row-level security");
    }
}

#[tokio::test]
async fn foreign_rows_cannot_be_written_changed_or_deleted() {
    let db = TestDatabase::create().await;
    let (acme, globex) = (filled_tenant(&db, "acme").await, filled_tenant(&db, "globex").await);
    for table in tenant_tables(&db).await {
        let before = count(&db, &table, globex.id).await;
        // A row of one's own, copied under another tenant.
        let columns = stored_columns(&db, &table).await;
        let copy = format!(
            "insert into {table} ({columns}) select {columns}
             from (select (jsonb_populate_record(own, jsonb_build_object('tenant_id', $1))).* from {table} own limit 1) copied"
        );
        let error = refusal(&db.database, acme.id, &copy, globex.id).await;
        assert_eq!(error, "42501", "{table}: inserting a row for another tenant");
        // A row of one's own, given away. Where rows are never updated, something else says no before.
        let give_away = format!("update {table} set tenant_id = $1");
        let error = refusal(&db.database, acme.id, &give_away, globex.id).await;
        assert!(["42501", "P0001"].contains(&error.as_str()), "{table}: giving a row to another tenant: {error}");
        // Rows of the other tenant, asked for by name.
        for change in
            ["delete from {table} where tenant_id = $1", "update {table} set tenant_id = $1 where tenant_id = $1"]
        {
            let mut tx = db.database.tenant(acme.id).await.unwrap();
            let sql = change.replace("{table}", &table);
            match sqlx::query(AssertSqlSafe(sql)).bind(globex.id.uuid()).execute(tx.connection()).await {
                Ok(done) => {
                    assert_eq!(done.rows_affected(), 0, "{table}");
                    tx.commit().await.unwrap();
                }
                // Nobody may do that at all.
                Err(error) => assert!(
                    ["audit_log", "llm_budget_alerts", "llm_usage", "search_documents", "unrelayed_jobs"]
                        .contains(&table.as_str()),
                    "{table}: {error}"
                ),
            }
        }
        assert_eq!(count(&db, &table, globex.id).await, before, "{table}");
    }
}

/// The SQLSTATE with which a tenant's statement about another tenant is refused.
async fn refusal(database: &Database, tenant: TenantId, sql: &str, other: TenantId) -> String {
    let mut tx = database.tenant(tenant).await.unwrap();
    let done = sqlx::query(AssertSqlSafe(sql.to_owned())).bind(other.uuid()).execute(tx.connection()).await;
    match done {
        Err(sqlx::Error::Database(error)) => error.code().unwrap().into_owned(),
        other => panic!("`{sql}` was not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_foreign_key_does_not_tell_whether_another_tenant_has_the_row() {
    let db = TestDatabase::create().await;
    let (acme, globex) = (filled_tenant(&db, "acme").await, filled_tenant(&db, "globex").await);
    let foreign: Uuid = sqlx::query_scalar("select id from tags where tenant_id = $1")
        .bind(globex.id.uuid())
        .fetch_one(&mut db.owner().await)
        .await
        .unwrap();
    let mut errors = Vec::new();
    for tag in [foreign, Uuid::now_v7()] {
        let mut tx = db.database.tenant(acme.id).await.unwrap();
        let error = sqlx::query(
            "insert into article_tags (tenant_id, article_id, tag_id) select tenant_id, id, $1 from articles limit 1",
        )
        .bind(tag)
        .execute(tx.connection())
        .await
        .unwrap_err();
        let error = error.into_database_error().unwrap();
        errors.push((
            error.code().unwrap().into_owned(),
            error.constraint().unwrap().to_owned(),
            error.message().to_owned(),
        ));
    }
    assert_eq!(errors[0].0, "23503");
    assert_eq!(errors[0], errors[1], "a foreign tag and one that does not exist are refused alike");
}

#[tokio::test]
async fn tenants_use_the_same_slugs_and_emails_without_meeting() {
    let db = TestDatabase::create().await;
    // Each creates the same articles, categories, tags and the same person; `filled_tenant` fails when one is refused.
    let (acme, globex) = (filled_tenant(&db, "acme").await, filled_tenant(&db, "globex").await);
    for table in ["articles", "categories", "tags"] {
        let sql = format!("select slug from {table} where tenant_id = $1 order by slug");
        let mut owner = db.owner().await;
        let mut slugs = Vec::new();
        for tenant in [&acme, &globex] {
            let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql.clone()))
                .bind(tenant.id.uuid())
                .fetch_all(&mut owner)
                .await
                .unwrap();
            slugs.push(found);
        }
        assert_eq!(slugs[0], slugs[1], "{table}: another tenant's slug would show as a number behind one's own");
    }
}

/// A pool of one connection, so that every transaction uses the same.
fn single(db: &TestDatabase) -> Database {
    Database::open(&DatabaseConfig {
        url: db.url.clone(),
        max_connections: 1,
        acquire_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(30),
    })
    .unwrap()
}

async fn backend(connection: &mut PgConnection) -> i32 {
    sqlx::query_scalar("select pg_backend_pid()").fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn a_transaction_without_a_tenant_gets_an_error_and_never_rows() {
    let db = TestDatabase::create().await;
    let acme = filled_tenant(&db, "acme").await;
    let (fresh, used) = (single(&db), single(&db));
    used.tenant(acme.id).await.unwrap().commit().await.unwrap();
    for table in tenant_tables(&db).await {
        for sql in [
            format!("select * from {table}"),
            format!("select count(*) from {table}"),
            format!("delete from {table}"),
            format!("insert into {table} select * from {table}"),
        ] {
            for pool in [&fresh, &used] {
                let mut transaction = pool.untenanted().await.unwrap();
                let answer = sqlx::query(AssertSqlSafe(sql.clone())).fetch_all(&mut *transaction).await;
                assert!(answer.is_err(), "`{sql}` was answered with {} rows", answer.unwrap().len());
                drop(transaction);
                let mut registry = pool.registry().await.unwrap();
                let answer = sqlx::query(AssertSqlSafe(sql.clone())).fetch_all(&mut *registry).await;
                assert!(answer.is_err(), "`{sql}` was answered with {} rows", answer.unwrap().len());
            }
        }
    }
}

#[tokio::test]
async fn a_connection_forgets_the_tenant_when_its_transaction_ends() {
    let db = TestDatabase::create().await;
    let (acme, globex) = (filled_tenant(&db, "acme").await, filled_tenant(&db, "globex").await);
    let pool = single(&db);
    let mut connections = Vec::new();
    for end in ["committed", "rolled back", "failed", "abandoned"] {
        let mut tx = pool.tenant(acme.id).await.unwrap();
        let seen: i64 = sqlx::query_scalar("select count(*) from articles").fetch_one(tx.connection()).await.unwrap();
        assert_eq!(seen, 2);
        connections.push(backend(tx.connection()).await);
        match end {
            "committed" => tx.commit().await.unwrap(),
            "failed" => {
                sqlx::query("select 1 / 0").execute(tx.connection()).await.unwrap_err();
                drop(tx);
            }
            "abandoned" => {
                let slow = sqlx::query("select pg_sleep(20)").execute(tx.connection());
                tokio::time::timeout(Duration::from_millis(100), slow).await.unwrap_err();
                drop(tx);
                // The pool has one connection, and it is busy: ended from outside, as a statement timeout would.
                sqlx::query("select pg_terminate_backend($1)")
                    .bind(connections.last())
                    .execute(&mut db.owner().await)
                    .await
                    .unwrap();
            }
            _ => drop(tx),
        }
        let mut after = pool.untenanted().await.unwrap();
        if end != "abandoned" {
            assert_eq!(
                backend(&mut after).await,
                connections[0],
                "the connection must be the same for this to prove anything"
            );
        }
        let tenant: Option<String> = sqlx::query_scalar("select nullif(current_setting('app.tenant_id', true), '')")
            .fetch_one(&mut *after)
            .await
            .unwrap();
        assert_eq!(tenant, None, "{end}");
        let answer = sqlx::query("select * from articles").fetch_all(&mut *after).await;
        assert!(answer.is_err(), "{end}: the next transaction saw {} rows", answer.unwrap().len());
        drop(after);
        // The next tenant sees its own.
        assert_eq!(rows_of_another_tenant(&pool, globex.id, "articles").await, 0, "{end}");
    }
}

type Begin = fn(&Database, TenantId) -> BoxFuture<'_, Result<(), sqlx::Error>>;

#[tokio::test]
async fn a_connection_forgets_a_transaction_whose_begin_nobody_waited_for() {
    let db = TestDatabase::create().await;
    let acme = filled_tenant(&db, "acme").await;
    let (pool, mut owner) = (single(&db), db.owner().await);
    let begins: [Begin; 3] = [
        |pool, tenant| pool.tenant(tenant).map_ok(drop).boxed(),
        |pool, tenant| pool.tenant_snapshot(tenant).map_ok(drop).boxed(),
        |pool, _| pool.untenanted().map_ok(drop).boxed(),
    ];
    for (number, begin) in begins.into_iter().enumerate() {
        for is_answered in [false, true] {
            let while_it_travels = Duration::from_millis(20);
            drop(pool.registry().await.unwrap());
            tokio::time::sleep(while_it_travels).await; // until the connection is in the pool again
            let mut begun = begin(&pool, acme.id);
            let _ = futures::poll!(&mut begun); // sends `BEGIN`; rarely it is answered at once, and proves nothing
            if is_answered {
                tokio::time::sleep(while_it_travels).await;
            }
            drop(begun);
            let mut after = pool.registry().await.unwrap();
            let state: String = sqlx::query_scalar("select state from pg_stat_activity where pid = $1")
                .bind(backend(&mut after).await)
                .fetch_one(&mut owner)
                .await
                .unwrap();
            assert_eq!(state, "idle", "begin {number}, {is_answered}");
        }
    }
}

#[tokio::test]
async fn the_search_functions_answer_within_a_transaction_of_their_tenant_only() {
    let db = TestDatabase::create().await;
    let tenants = [filled_tenant(&db, "acme").await, filled_tenant(&db, "globex").await];
    let calls = [
        "select search_keyword_candidates(
             '{}', (select array_agg(id) from search_terms), null, false, null, null, null, null, null, 10)",
        "select search_title_candidates('{}', '{}', (select array_agg(id) from search_terms), 10)",
        "select search_semantic_candidates('{}', 'by hand', array_fill(0.05, array[384])::halfvec,
             null, null, null, null, null)",
        "select search_semantic_candidates('{}', 'by hand', array_fill(0.05, array[384])::halfvec,
             null, null, null, null, 200)",
    ];
    for call in calls {
        for tenant in &tenants {
            let mut tx = db.database.tenant(tenant.id).await.unwrap();
            let found: Vec<Uuid> = sqlx::query_scalar(call).fetch_all(tx.connection()).await.unwrap();
            assert!(!found.is_empty(), "`{call}` finds nothing at all");
            let foreign: i64 =
                sqlx::query_scalar("select count(*) from articles where id = any ($1) and tenant_id <> $2")
                    .bind(found)
                    .bind(tenant.id.uuid())
                    .fetch_one(&mut db.owner().await)
                    .await
                    .unwrap();
            assert_eq!(foreign, 0, "`{call}` told a transaction of one tenant about articles of another");
        }
        let mut untenanted = db.database.untenanted().await.unwrap();
        let answer = sqlx::query(call).fetch_all(&mut *untenanted).await;
        assert!(answer.is_err(), "`{call}` answered a transaction without a tenant");
    }
}

#[tokio::test]
async fn a_temporary_table_cannot_stand_in_for_one_that_a_security_definer_function_reads() {
    let db = TestDatabase::create().await;
    let globex = filled_tenant(&db, "globex").await;
    let acme = filled_tenant(&db, "acme").await;
    // With the services' login: views in the place of tables, which would run code with the function's rights.
    let mut intruder = PgConnection::connect(db.url.expose_secret()).await.unwrap();
    sqlx::raw_sql(
        "create temp table loot (slug text);
         grant all on loot to public;
         create function pg_temp.steal() returns uuid language plpgsql as $$
         begin
             insert into pg_temp.loot select slug from public.articles;
             return gen_random_uuid();
         end $$;
         create temp view passages as
             select pg_temp.steal() as tenant_id, null::uuid as id, null::uuid as article_id, null::tsvector as tsv;
         create temp view passage_embeddings as
             select pg_temp.steal() as tenant_id, null::uuid as article_id, null::text as model, null::halfvec as embedding;
         grant select on passages, passage_embeddings to public;",
    )
    .execute(&mut intruder)
    .await
    .unwrap();
    let mut transaction = intruder.begin().await.unwrap();
    sqlx::query("select set_config('app.tenant_id', $1, true)")
        .bind(acme.id.to_string())
        .execute(&mut *transaction)
        .await
        .unwrap();
    for call in [
        "select search_keyword_candidates(
             '{}', (select array_agg(id) from search_terms), null, false, 'scanner', null, null, null, null, 10)",
        "select search_semantic_candidates('{}', 'by hand', array_fill(0.05, array[384])::halfvec,
             null, null, null, null, null)",
    ] {
        let found = sqlx::query(call).fetch_all(&mut *transaction).await.unwrap();
        assert!(!found.is_empty(), "`{call}` does not read the table");
    }
    transaction.commit().await.unwrap();
    let loot: i64 = sqlx::query_scalar("select count(*) from loot").fetch_one(&mut intruder).await.unwrap();
    assert_eq!(loot, 0, "the articles of every tenant were read, those of {} too", globex.slug);
}

/// The keys that a test's queues have in Redis.
async fn redis_keys(app: &TestApp) -> (redis::aio::MultiplexedConnection, Vec<String>) {
    let client = redis::Client::open(app.queue_config.redis_url.expose_secret()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let pattern = format!("{}*", app.queue_config.prefix);
    let keys = redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap();
    (connection, keys)
}

/// A help center with a tenant whose one article waits in Redis to be embedded, and another tenant.
async fn waiting_job(lease: Duration) -> (TestApp, Tenant, Tenant, Uuid) {
    let app = TestApp::start_with(Settings { lease, ..Settings::default() }).await;
    let (acme, globex) = (app.db.tenant("acme").await, app.db.tenant("globex").await);
    let folder = Folder::of(&[("secret.md", &fixture::article("A secret plan", "Nobody must read this in Redis."))]);
    fixture::import(&app.db, acme.id, &folder).await;
    assert_eq!(queue::relay::once(&app.db.database, &app.store).await.unwrap(), 1);
    let job = sqlx::query_scalar("select id from outbox").fetch_one(&mut app.db.owner().await).await.unwrap();
    (app, acme, globex, job)
}

#[tokio::test]
async fn redis_holds_ids_of_jobs_under_the_deployments_prefix_and_nothing_of_a_tenants_content() {
    let (app, acme, ..) = waiting_job(Duration::from_secs(15)).await;
    let (mut redis, keys) = redis_keys(&app).await;
    let prefix = &app.queue_config.prefix;
    let lane = format!("1:{}", acme.id);
    let mut jobs = 0;
    for key in keys {
        let rest = key.strip_prefix(&format!("{prefix}:")).unwrap();
        if rest == "incarnation" || rest.ends_with("}:counts") {
            continue;
        }
        if rest.ends_with("}:ring:1") {
            let lanes: Vec<String> =
                redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).query_async(&mut redis).await.unwrap();
            assert_eq!(lanes, [lane.as_str()]);
            continue;
        }
        if rest.ends_with(&format!("}}:lane:{lane}")) {
            continue;
        }
        assert!(rest.contains("}:job:"), "{key} is a new kind of key: say here whose it is and what it holds");
        let fields: std::collections::BTreeMap<String, String> =
            redis::cmd("HGETALL").arg(&key).query_async(&mut redis).await.unwrap();
        assert_eq!(fields["lane"], lane, "a job says whose it is");
        assert!(fields.keys().all(|field| ["lane", "state", "since", "token"].contains(&field.as_str())), "{fields:?}");
        jobs += 1;
    }
    assert_eq!(jobs, 1);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_job_runs_for_the_tenant_of_its_row_whatever_redis_says() {
    let (app, acme, globex, job) = waiting_job(Duration::from_secs(15)).await;
    let (mut redis, _) = redis_keys(&app).await;
    let key = |name: &str| format!("{}:{{embeddings}}:{name}", app.queue_config.prefix);
    let (ours, theirs) = (format!("1:{}", acme.id), format!("1:{}", globex.id));
    redis::pipe()
        .rename(key(&format!("lane:{ours}")), key(&format!("lane:{theirs}")))
        .hset(key(&format!("job:{job}")), "lane", &theirs)
        .zrem(key("ring:1"), &ours)
        .zadd(key("ring:1"), &theirs, 0)
        .exec_async(&mut redis)
        .await
        .unwrap();

    let seen = Arc::new(Mutex::new(Vec::new()));
    let registry = Registry::new().job::<EmbedArticle, _, _>({
        let seen = Arc::clone(&seen);
        move |_, run: Run| {
            seen.lock().unwrap().push(run.tenant);
            async { Ok(()) }
        }
    });
    app.run_jobs_with(app.worker_with(registry)).await;
    assert_eq!(*seen.lock().unwrap(), [acme.id]);
}

#[tokio::test]
async fn another_tenants_articles_change_neither_scores_nor_order_of_a_search() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.db.tenant("acme").await, app.db.tenant("globex").await);
    let texts = [
        ("Restart a scanner", "Hold the scanner's button until the printer beeps."),
        ("Calibrate a printer", "The printer prints a page; the scanner reads it."),
        ("Labels", "A label comes out of the printer. The printer needs paper."),
        ("Holidays", "Ask for a day off in the calendar."),
    ];
    let files: Vec<(String, String)> =
        texts.iter().map(|(title, text)| (format!("{title}.md"), fixture::article(title, text))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    fixture::import(&app.db, acme.id, &Folder::of(&files)).await;
    app.run_jobs().await;

    let token = app.token("acme", &[]);
    let queries = ["scanner printer", "how do I restart the printer", "calendar", "label paper button", "scanr"];
    // With another limit each time, so that no answer is one that was kept.
    let search = async |limit: u32| {
        let mut answers: Vec<Value> = Vec::new();
        for query in queries {
            let body = json!({ "query": query, "limit": limit });
            let (status, mut found) = app.post("/api/v2/help-center/search/", &token, &body).await;
            assert_eq!(status, 200, "{found}");
            found.as_object_mut().unwrap().retain(|name, _| !["took_ms", "search_id"].contains(&name.as_str()));
            answers.push(found);
        }
        answers
    };
    let alone = search(50).await;
    assert!(alone.iter().any(|answer| answer["total"].as_u64().unwrap() > 1), "{alone:?}");

    // Many articles of another tenant, full of the same words.
    let files: Vec<(String, String)> = (0..30)
        .map(|n| {
            (
                format!("{n}.md"),
                fixture::article(
                    &format!("Printer scanner {n}"),
                    "printer scanner label calendar ".repeat(n + 1).as_str(),
                ),
            )
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    fixture::import(&app.db, globex.id, &Folder::of(&files)).await;
    app.run_jobs().await;
    assert_eq!(search(49).await, alone);
}

#[tokio::test]
async fn another_tenants_nearer_vectors_do_not_crowd_a_tenants_own_out_of_the_index() {
    let db = TestDatabase::create().await;
    let (acme, globex) = (db.tenant("acme").await, db.tenant("globex").await);
    let mut owner = db.owner().await;
    // Next to the query: 2000 vectors of globex. Farther off: five articles of acme.
    for (tenant, articles, passages, distance) in [(&globex, 1, 2000, 0.01), (&acme, 5, 1, 0.5)] {
        let sql = "with article as (
                 insert into articles (tenant_id, slug, status, target_roles, published_revision_id)
                 select $1, 'a' || n, 'PUBLISHED', '{all}', gen_random_uuid() from generate_series(1, $2) n
                 returning id, published_revision_id),
             revision as (
                 insert into revisions (tenant_id, id, article_id, number, title, author)
                 select $1, published_revision_id, id, 1, 'T', 'test' from article),
             passage as (
                 insert into passages (tenant_id, article_id, revision_id, ordinal, body, context, tsv)
                 select $1, id, published_revision_id, n, '', '', '' from article, generate_series(1, $3) n
                 returning id, article_id, ordinal)
             insert into passage_embeddings (tenant_id, passage_id, article_id, ordinal, model, embedding)
             select $1, id, article_id, ordinal, 'by hand',
                    l2_normalize((array[1.0, $4] || array(
                        select 0.02 * (random() - 0.5) from generate_series(1, 382 + 0 * ordinal)))::halfvec(384))
             from passage";
        sqlx::query(sql)
            .bind(tenant.id.uuid())
            .bind(articles)
            .bind(passages)
            .bind(distance)
            .execute(&mut owner)
            .await
            .unwrap();
    }
    sqlx::query("analyze").execute(&mut owner).await.unwrap();
    let query = "(array[1.0] || array_fill(0.0, array[383]))::halfvec(384)";

    // What a plain index scan finds: nothing of acme's. This is the trap.
    let mut transaction = owner.begin().await.unwrap();
    sqlx::raw_sql("set local enable_seqscan = off; set local enable_sort = off; set local hnsw.iterative_scan = off")
        .execute(&mut *transaction)
        .await
        .unwrap();
    let plain = format!(
        "select passage_id from passage_embeddings
         where tenant_id = $1 and model = 'by hand' order by embedding <=> {query} limit 10"
    );
    let found = sqlx::query(AssertSqlSafe(plain)).bind(acme.id.uuid()).fetch_all(&mut *transaction).await.unwrap();
    assert!(
        found.is_empty(),
        "the plain scan found {} of acme's articles: the other tenant is not in the way",
        found.len()
    );
    drop(transaction);

    // What the product's function finds through the same index.
    let mut tx = db.database.tenant(acme.id).await.unwrap();
    sqlx::raw_sql("set local enable_seqscan = off; set local enable_sort = off")
        .execute(tx.connection())
        .await
        .unwrap();
    let wanted = format!("select search_semantic_candidates('{{}}', 'by hand', {query}, null, null, null, null, 200)");
    let found = sqlx::query(AssertSqlSafe(wanted)).fetch_all(tx.connection()).await.unwrap();
    assert_eq!(found.len(), 5);
}
