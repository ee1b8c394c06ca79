//! `seed-demo`: two tenants, people of several roles, and tokens as a host application would sign them.

use std::process::ExitCode;

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use shared::{
    auth::{
        Pepper, Roles,
        jwt::{self, NewToken},
        session::{self, CreatePersonError, NewPerson},
    },
    clock::Clock,
    config::AuthConfig,
    db::Database,
    tenancy::{self, NewTenant, Tenant},
};

use crate::output;

const ACTOR: &str = "seed-demo";
const DAY_SECONDS: i64 = 24 * 3600;

/// A demonstration account.
struct Account {
    name: &'static str,
    email: &'static str,
    roles: &'static [&'static str],
}

const DEMO: &[Account] = &[
    Account { name: "Demo Admin", email: "admin@demo.example", roles: &["admin", "editor", "author"] },
    Account { name: "Demo Operator", email: "operator@demo.example", roles: &["operator"] },
    Account { name: "Demo Author", email: "author@demo.example", roles: &["author"] },
    Account { name: "Demo Reader", email: "reader@demo.example", roles: &[] },
];
const SECOND: &[Account] = &[Account { name: "Second Admin", email: "admin@second.example", roles: &["admin"] }];

#[derive(Serialize)]
struct Seeded {
    tenant: String,
    other_tenant: String,
    people: Vec<SeededPerson>,
    admin_token: String,
    user_token: String,
    norole_token: String,
    other_tenant_token: String,
}

#[derive(Serialize)]
struct SeededPerson {
    tenant: String,
    name: &'static str,
    email: &'static str,
    password: String,
    roles: &'static [&'static str],
}

pub(crate) async fn seed(database: &Database, json: bool) -> anyhow::Result<ExitCode> {
    let auth = AuthConfig::from_env()?;
    let pepper = Pepper::new(auth.pepper.clone());
    let demo = tenant(database, "demo", "Help Center Demo").await?;
    let second = tenant(database, "second", "Second Tenant").await?;
    let mut people = Vec::new();
    for (tenant, accounts) in [(&demo, DEMO), (&second, SECOND)] {
        for account in accounts {
            people.push(person(database, &pepper, tenant, account).await?);
        }
    }
    let secret = auth.require_jwt_secret()?;
    let token = |tenant: &Tenant, account: &Account| {
        let roles: Vec<String> = account.roles.iter().map(ToString::to_string).collect();
        let token =
            NewToken { sub: account.email, tenant: &tenant.slug, roles: &roles, name: account.name, exp: expiry() };
        jwt::sign(secret, &token).context("a token could not be signed")
    };
    let seeded = Seeded {
        tenant: demo.slug.clone(),
        other_tenant: second.slug.clone(),
        people,
        admin_token: token(&demo, &DEMO[0])?,
        user_token: token(&demo, &DEMO[1])?,
        norole_token: token(&demo, &DEMO[3])?,
        other_tenant_token: token(&second, &SECOND[0])?,
    };
    let text: Vec<String> =
        seeded.people.iter().map(|p| format!("{:8} {:24} {}", p.tenant, p.email, p.password)).collect();
    output::done(json, &text.join("\n"), &seeded);
    Ok(ExitCode::SUCCESS)
}

async fn tenant(database: &Database, slug: &str, name: &str) -> anyhow::Result<Tenant> {
    let new = NewTenant {
        slug: slug.parse().map_err(anyhow::Error::msg)?,
        name: name.to_owned(),
        hosts: vec![format!("{slug}.localhost")],
        is_public: false,
    };
    let mut transaction = database.untenanted().await?;
    let (tenant, _) = tenancy::create(&mut transaction, &new).await?;
    transaction.commit().await?;
    Ok(tenant)
}

async fn person(
    database: &Database,
    pepper: &Pepper,
    tenant: &Tenant,
    account: &Account,
) -> anyhow::Result<SeededPerson> {
    // Derived, so that a second run prints what the first one set, and every deployment has its own.
    let password = URL_SAFE_NO_PAD.encode(&pepper.hash("demo password", account.email.as_bytes())[..12]);
    let roles = Roles::new(account.roles.iter().map(ToString::to_string).collect()).map_err(anyhow::Error::msg)?;
    let new =
        NewPerson { email: account.email.to_owned(), name: account.name.to_owned(), roles, password: password.clone() };
    let mut tx = database.tenant(tenant.id).await?;
    match session::create_person(&mut tx, new, ACTOR).await {
        Ok(_) => tx.commit().await?,
        Err(CreatePersonError::Exists) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(SeededPerson {
        tenant: tenant.slug.clone(),
        name: account.name,
        email: account.email,
        password,
        roles: account.roles,
    })
}

/// Two to three months from now, the same for a whole month, so that repeating the command changes nothing.
fn expiry() -> i64 {
    let month = 30 * DAY_SECONDS;
    (Clock::system().now().timestamp() / month + 3) * month
}
