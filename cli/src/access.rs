//! `create-tenant`, `create-user`, `create-key` and `revoke-key`.

use std::{io::Read as _, process::ExitCode};

use anyhow::{Context as _, bail};
use shared::{
    auth::{
        Pepper, Roles, api_key,
        session::{self, NewPerson},
    },
    clock::Clock,
    config::AuthConfig,
    db::Database,
    tenancy::{self, NewTenant, TenantSlug},
};
use uuid::Uuid;

use crate::{TenantArgument, output};

/// Who did it, in the audit log.
pub(crate) const ACTOR: &str = "command line";

#[derive(clap::Args)]
pub(crate) struct TenantArguments {
    /// Lower-case letters, digits and hyphens.
    slug: TenantSlug,
    /// The name that people see.
    #[arg(long)]
    name: String,
    /// A host name whose pages show this tenant; may be repeated.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Let anonymous visitors read what is meant for `all`.
    #[arg(long)]
    public: bool,
}

pub(crate) async fn create_tenant(
    database: &Database,
    arguments: TenantArguments,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let TenantArguments { slug, name, hosts, public } = arguments;
    let mut transaction = database.untenanted().await?;
    let new = NewTenant { slug, name, hosts, is_public: public };
    let (tenant, created) = tenancy::create(&mut transaction, &new).await?;
    transaction.commit().await?;
    if !created {
        bail!("the tenant `{}` exists already; nothing was changed", tenant.slug);
    }
    let text = format!("Created tenant `{}` ({}).", tenant.slug, tenant.id);
    output::done(json, &text, &serde_json::json!({ "id": tenant.id, "slug": tenant.slug }));
    Ok(ExitCode::SUCCESS)
}

#[derive(clap::Args)]
pub(crate) struct UserArguments {
    #[command(flatten)]
    tenant: TenantArgument,
    /// They sign in with it.
    #[arg(long)]
    email: String,
    /// What to call them.
    #[arg(long)]
    name: String,
    /// A role; may be repeated.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Read the password from standard input (the only way: an argument would be visible to other users of the machine).
    #[arg(long, required = true)]
    password_stdin: bool,
}

pub(crate) async fn create_user(database: &Database, arguments: UserArguments, json: bool) -> anyhow::Result<ExitCode> {
    let tenant = arguments.tenant.find(database).await?;
    let mut password = String::new();
    std::io::stdin().take(4096).read_to_string(&mut password).context("the password could not be read")?;
    let new = NewPerson {
        email: arguments.email,
        name: arguments.name,
        roles: Roles::new(arguments.roles).map_err(anyhow::Error::msg)?,
        password: password.trim_end_matches(['\r', '\n']).to_owned(),
    };
    let mut tx = database.tenant(tenant.id).await?;
    let id = session::create_person(&mut tx, new, ACTOR).await?;
    tx.commit().await?;
    output::done(json, &format!("Created person {id}."), &serde_json::json!({ "id": id }));
    Ok(ExitCode::SUCCESS)
}

#[derive(clap::Args)]
pub(crate) struct KeyArguments {
    #[command(flatten)]
    tenant: TenantArgument,
    /// What the key is for.
    #[arg(long)]
    name: String,
    /// A role whose articles the key sees; may be repeated.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// What the key may do, beside reading: `manage` what admins of the tenant manage, or `operate` the whole deployment. May
    /// be repeated.
    #[arg(long = "scope", value_name = "SCOPE", value_parser = [api_key::SCOPE_MANAGE, api_key::SCOPE_OPERATE])]
    scopes: Vec<String>,
    /// When the key stops working [default: never].
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    expires_in_days: Option<u32>,
}

pub(crate) async fn create_key(database: &Database, arguments: KeyArguments, json: bool) -> anyhow::Result<ExitCode> {
    let tenant = arguments.tenant.find(database).await?;
    let pepper = Pepper::new(AuthConfig::from_env()?.pepper);
    let new = api_key::NewApiKey {
        name: arguments.name,
        roles: Roles::new(arguments.roles).map_err(anyhow::Error::msg)?,
        scopes: arguments.scopes,
        expires_at: arguments.expires_in_days.map(|days| Clock::system().now() + chrono::Duration::days(days.into())),
    };
    let mut tx = database.tenant(tenant.id).await?;
    let created = api_key::create(&mut tx, &pepper, &new, ACTOR).await?;
    tx.commit().await?;
    let text = format!("Key {} (store it now, it is not shown again):\n{}", created.id, created.text);
    output::done(json, &text, &serde_json::json!({ "id": created.id, "key": created.text }));
    Ok(ExitCode::SUCCESS)
}

#[derive(clap::Args)]
pub(crate) struct RevokeArguments {
    #[command(flatten)]
    tenant: TenantArgument,
    /// The key's id, as `create-key` printed it.
    id: Uuid,
}

pub(crate) async fn revoke_key(
    database: &Database,
    arguments: &RevokeArguments,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let tenant = arguments.tenant.find(database).await?;
    let mut tx = database.tenant(tenant.id).await?;
    if !api_key::revoke(&mut tx, arguments.id, Clock::system().now(), ACTOR).await? {
        bail!("tenant `{}` has no key {}", tenant.slug, arguments.id);
    }
    tx.commit().await?;
    output::done(json, &format!("Key {} is revoked.", arguments.id), &serde_json::json!({ "revoked": arguments.id }));
    Ok(ExitCode::SUCCESS)
}
