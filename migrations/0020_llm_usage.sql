-- Language models: what each call has cost, what a tenant may spend, and models of a tenant's own.

-- One row for each call. Until it has ended, `outcome` is null and the row holds the most that the call can cost: so calls that run
-- at the same time cannot spend the same money, and what a process that died has spent is not forgotten.
create table llm_usage (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(),
    purpose text not null check (length(purpose) between 1 and 40),
    answer_id uuid, -- what it was for; no foreign key, because what was spent outlives it
    is_own_model boolean not null, -- the tenant's, paid for by the tenant; else the deployment's
    provider text not null check (length(provider) between 1 and 300), -- the server's host
    model text not null check (length(model) between 1 and 200),
    at timestamptz not null,
    outcome text check (length(outcome) between 1 and 40),
    input_tokens integer not null check (input_tokens >= 0),
    output_tokens integer not null check (output_tokens >= 0),
    is_estimated boolean not null, -- the server has not said how many tokens there were
    usd numeric(14, 6) check (usd >= 0), -- null: the price is not known
    took_ms integer check (took_ms >= 0),
    first_token_ms integer check (first_token_ms >= 0), -- null: there was none
    primary key (tenant_id, id),
    constraint llm_usage_ended_check check ((outcome is null) = (took_ms is null))
);
create index llm_usage_at_index on llm_usage (tenant_id, at);

-- That a tenant has used most of a day's budget: told once.
create table llm_budget_alerts (
    tenant_id uuid not null references tenants (id) on delete cascade,
    day date not null, -- UTC
    budget text not null check (budget in ('usd', 'tokens')),
    at timestamptz not null,
    primary key (tenant_id, day, budget)
);

-- What a tenant has set. No row: everything as the deployment has it.
create table llm_settings (
    tenant_id uuid primary key references tenants (id) on delete cascade,
    version uuid not null default uuidv7(), -- another one with each change
    provider text check (provider in ('extractive', 'openai')), -- null: the deployment's
    base_url text check (length(base_url) between 1 and 2000),
    model text check (length(model) between 1 and 200),
    api_key bytea, -- encrypted with SECRETS_KEY
    api_key_end text check (length(api_key_end) <= 4), -- its last characters, to be recognised by
    price_input numeric(14, 6) check (price_input >= 0), -- USD per million tokens
    price_output numeric(14, 6) check (price_output >= 0),
    daily_budget_usd numeric(14, 6) check (daily_budget_usd >= 0),
    daily_budget_tokens bigint check (daily_budget_tokens >= 0),
    updated_at timestamptz not null,
    constraint llm_settings_own_model_check check (
        case when provider = 'openai' then base_url is not null and model is not null
             else num_nonnulls(base_url, model, api_key, price_input, price_output) = 0 end),
    constraint llm_settings_api_key_check check (api_key is null = (api_key_end is null)),
    constraint llm_settings_prices_check check (price_input is null = (price_output is null))
);

call protect_tenant_table('llm_usage');
call protect_tenant_table('llm_budget_alerts');
call protect_tenant_table('llm_settings');
grant select, insert, update on llm_usage to helpcenter_app;
grant select, insert on llm_budget_alerts to helpcenter_app;
grant select, insert, update, delete on llm_settings to helpcenter_app;
