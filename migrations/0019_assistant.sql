-- The assistant: who asked what, what was answered with what, and what is remembered of people.

-- What somebody asks in one session of a client.
create table conversations (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(),
    asker text not null check (length(asker) between 1 and 300), -- `person:SUBJECT`, `visitor:HASH` or `key:ID`
    session_id text not null check (length(session_id) between 1 and 200), -- as the client names it; another asker's is another
    started_at timestamptz not null default now(),
    last_asked_at timestamptz not null default now(),
    primary key (tenant_id, id),
    constraint conversations_session_key unique (tenant_id, asker, session_id)
);
create index conversations_asker_index on conversations (tenant_id, asker, last_asked_at desc, id desc);
create index conversations_last_asked_index on conversations (tenant_id, last_asked_at desc, id desc);

-- A question, and what became of it.
create table answers (
    tenant_id uuid not null,
    id uuid not null default uuidv7(),
    conversation_id uuid not null,
    question text not null check (length(question) between 2 and 2000),
    page_url text check (length(page_url) between 1 and 500), -- where it was asked: host and path, ids left out, no query
    roles text[] not null, -- the asker's, by which passages were chosen
    locale text,
    asked_at timestamptz not null default now(),
    status text not null default 'queued' check (status in ('queued', 'writing', 'done', 'cancelled', 'failed')),
    -- Of the writing; null until then.
    started_at timestamptz,
    writer uuid, -- the attempt that may end it; one that was thought dead may not
    queue_ms integer check (queue_ms >= 0), -- from the question to the beginning
    searched_for text, -- the question as a search understands it, with what a follow-up left out
    relevance real check (relevance between 0 and 1), -- how probably the help center knows an answer
    retrieval_ms integer check (retrieval_ms >= 0),
    prompt jsonb, -- what a language model was sent
    first_chunk_ms integer check (first_chunk_ms >= 0), -- from the question to the first words of the answer
    writing_ms integer check (writing_ms >= 0),
    -- Of the end; null until then.
    finished_at timestamptz,
    outcome text check (outcome in ('answered', 'refused', 'handed_over')),
    reason text check (reason in ('missing_knowledge', 'customer_request', 'unsupported_request', 'policy', 'budget', 'provider_down')),
    answer text, -- Markdown, with markers `[1]` of passages
    citations jsonb not null default '[]',
    nearest jsonb not null default '[]', -- articles to read instead, where it was refused
    provider text,
    model text,
    degraded text[] not null default '{}',
    is_cached boolean not null default false,
    withheld_claims integer not null default 0 check (withheld_claims >= 0), -- sentences that no passage supports
    input_tokens bigint check (input_tokens >= 0),
    output_tokens bigint check (output_tokens >= 0),
    usd numeric(12, 6) check (usd >= 0), -- null: no model was asked, or its price is unknown
    -- Of the asker afterwards.
    is_helpful boolean,
    comment text check (length(comment) between 1 and 1000),
    rated_at timestamptz,
    primary key (tenant_id, id),
    constraint answers_conversation_fkey foreign key (tenant_id, conversation_id)
        references conversations (tenant_id, id) on delete cascade,
    constraint answers_end_check check ((status = 'done') = (outcome is not null))
);
create index answers_conversation_index on answers (tenant_id, conversation_id, asked_at, id);
create index answers_asked_index on answers (tenant_id, asked_at desc, id desc);
create index answers_unfinished_index on answers (tenant_id, asked_at) where status in ('queued', 'writing');

-- What an answer was made of, as it was then.
create table answer_passages (
    tenant_id uuid not null,
    answer_id uuid not null,
    marker smallint not null check (marker between 1 and 99),
    article_id uuid not null,
    revision_id uuid not null,
    first_ordinal integer not null check (first_ordinal >= 0),
    last_ordinal integer not null,
    slug text not null,
    title text not null,
    heading_path text[] not null,
    anchor text,
    body text not null,
    similarity real,
    score real not null,
    is_cited boolean not null default false,
    primary key (tenant_id, answer_id, marker),
    check (last_ordinal >= first_ordinal),
    foreign key (tenant_id, answer_id) references answers (tenant_id, id) on delete cascade,
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade
);
create index answer_passages_article_index on answer_passages (tenant_id, article_id);

-- What came of an answer: one row for each fact, never twice.
create table answer_outcomes (
    tenant_id uuid not null,
    answer_id uuid not null,
    outcome text not null check (outcome in
        ('answered', 'cited', 'refused', 'handed_over', 'confirmed_helpful', 'ticket_opened')),
    happened_at timestamptz not null default now(),
    primary key (tenant_id, answer_id, outcome),
    foreign key (tenant_id, answer_id) references answers (tenant_id, id) on delete cascade
);
create index answer_outcomes_happened_index on answer_outcomes (tenant_id, outcome, happened_at);

-- Answers that may be given again: to the same question, by the same audience, of the same passages.
create table answer_cache (
    tenant_id uuid not null,
    key bytea not null check (length(key) = 32), -- of question, roles, language, model and passages
    answer_id uuid not null,
    kept_at timestamptz not null default now(),
    primary key (tenant_id, key),
    foreign key (tenant_id, answer_id) references answers (tenant_id, id) on delete cascade
);
create index answer_cache_answer_index on answer_cache (tenant_id, answer_id);
create index answer_cache_kept_index on answer_cache (tenant_id, kept_at);

-- Conversations that people are to go on with.
create table handovers (
    tenant_id uuid not null,
    id uuid not null default uuidv7(),
    conversation_id uuid not null,
    answer_id uuid, -- the answer after which it was asked for
    reason text not null check (reason in
        ('missing_knowledge', 'customer_request', 'unsupported_request', 'policy', 'budget', 'provider_down')),
    note text check (length(note) between 1 and 2000), -- the asker's own words
    requested_at timestamptz not null default now(),
    closed_at timestamptz,
    closed_by text,
    primary key (tenant_id, id),
    foreign key (tenant_id, conversation_id) references conversations (tenant_id, id) on delete cascade,
    foreign key (tenant_id, answer_id) references answers (tenant_id, id) on delete cascade
);
create unique index handovers_open_key on handovers (tenant_id, conversation_id) where closed_at is null;
create index handovers_requested_index on handovers (tenant_id, requested_at desc, id desc);
create index handovers_answer_index on handovers (tenant_id, answer_id) where answer_id is not null;

-- What is remembered of people beyond a conversation.
create table memories (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(),
    asker text not null check (length(asker) between 1 and 300),
    kind text not null check (kind in ('preference', 'recurring_issue', 'fact')),
    body text not null check (length(body) between 1 and 500),
    confidence real not null check (confidence between 0 and 1),
    conversation_id uuid, -- where it was said last
    created_at timestamptz not null default now(),
    confirmed_at timestamptz not null default now(), -- when it was said last
    expires_at timestamptz, -- null: until it is deleted
    primary key (tenant_id, id),
    constraint memories_body_key unique (tenant_id, asker, kind, body),
    foreign key (tenant_id, conversation_id) references conversations (tenant_id, id) on delete set null (conversation_id)
);
create index memories_expiry_index on memories (tenant_id, expires_at) where expires_at is not null;
create index memories_conversation_index on memories (tenant_id, conversation_id) where conversation_id is not null;

call protect_tenant_table('conversations');
call protect_tenant_table('answers');
call protect_tenant_table('answer_passages');
call protect_tenant_table('answer_outcomes');
call protect_tenant_table('answer_cache');
call protect_tenant_table('handovers');
call protect_tenant_table('memories');
grant select, insert, update, delete on conversations, answers, answer_passages, answer_outcomes, answer_cache, handovers, memories
    to helpcenter_app;
