//! Somebody who keeps the product's own jobs busy. What is to come of them is written down in the transactions that enqueue
//! them, in `torture.wanted`; [`super::product`] compares in the end.

use std::{
    io::{Cursor, Write as _},
    path::Path,
    time::Duration,
};

use rand::{Rng as _, rngs::StdRng};
use shared::{
    db::{Database, TenantTx},
    knowledge::{
        ArticleText, BulkAction, BulkChange, CountViews, Difficulty, Locale,
        import::upload::{self, NewImport},
        taxonomy::{self, CategoryChange},
        writing::{self, NewArticle, Writer},
    },
    queue,
    search::PruneHistory,
    tenancy::{self, TenantId},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::jobs::Journal;

/// The tenant that the articles are of.
pub(super) const TENANT: &str = "writers";
/// Names of tags that are renamed and removed begin with it.
const SHELF: &str = "Shelf";
/// How many shelves new articles are put into.
const SHELVES: u32 = 30;
/// How many articles are published together.
const BATCH: u32 = 5;
/// How many files an archive has.
const FILES: u32 = 4;
/// Tags are given to the latest of so many articles, so that none gets more than it may have.
const RECENT: usize = 60;
/// How many days ago what is to be forgotten was.
const LONG_AGO_DAYS: i32 = 500;

type Done<T> = anyhow::Result<T>;

/// See the module.
pub(super) struct Editor {
    database: Database,
    journal: Journal,
    random: StdRng,
    tenant: TenantId,
    recent: Vec<Uuid>,
}

impl Editor {
    pub(super) async fn new(database: Database, journal: &Path, random: StdRng) -> Self {
        let tenant = loop {
            if let Ok(tenants) = tenancy::all(&database).await
                && let Some(tenant) = tenants.into_iter().find(|tenant| tenant.slug == TENANT)
            {
                break tenant.id;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        Self { database, journal: Journal::open(journal), random, tenant, recent: Vec::new() }
    }

    /// Works until told to stop. What fails was not done, or nobody knows: it is not acknowledged.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let Some(done) = stop.run_until_cancelled(self.work()).await else { return };
            if let Ok(Some(job)) = done {
                self.journal.write(&format!("enqueued job {job}"));
            }
            let pause = Duration::from_millis(self.random.random_range(300..900));
            let _ = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }

    /// One piece of work; the job that follows, where its id is known.
    pub(super) async fn work(&mut self) -> Done<Option<Uuid>> {
        let key = Uuid::new_v4();
        match self.random.random_range(0..100) {
            0..35 => self.publish(key).await.map(Some),
            35..60 => self.tag(key).await,
            60..70 => self.import(key).await.map(Some),
            70..80 => self.rename_a_shelf(key).await,
            80..95 => self.read().await.map(Some),
            _ => self.forget().await.map(Some),
        }
    }

    /// New articles, and a job that publishes them.
    async fn publish(&mut self, key: Uuid) -> Done<Uuid> {
        let mut tx = self.database.tenant(self.tenant).await?;
        let category = category(&mut tx).await?;
        let mut articles = Vec::new();
        for number in 0..BATCH {
            let shelf = self.random.random_range(0..SHELVES);
            let new = NewArticle {
                text: ArticleText {
                    title: format!("Article {number} of {}", key.simple()),
                    summary: String::new(),
                    content: format!(
                        "About wheelbarrow {number}.\n\n## Repairs\n\nOf wheelbarrows with number {shelf}.\n"
                    ),
                },
                slug: None,
                category_id: Some(category),
                tags: vec![format!("{SHELF} {shelf}")],
                difficulty: Difficulty::default(),
                target_roles: vec!["all".to_owned()],
                locale: Locale::default(),
                translation_of: None,
                review_due_on: None,
                related: Vec::new(),
                note: String::new(),
            };
            articles.push(writing::create(&mut tx, &editor(), &new).await?);
        }
        let job = bulk(&mut tx, key, BulkAction::Publish, None, &articles).await?;
        tx.commit().await?;
        self.recent.extend(articles);
        self.recent.drain(..self.recent.len().saturating_sub(RECENT));
        Ok(job)
    }

    /// A job that gives a tag of its own to some articles, also to some that are being published or tagged.
    async fn tag(&mut self, key: Uuid) -> Done<Option<Uuid>> {
        let articles: Vec<Uuid> = self.recent.iter().copied().filter(|_| self.random.random_bool(0.1)).collect();
        if articles.is_empty() {
            return Ok(None);
        }
        let mut tx = self.database.tenant(self.tenant).await?;
        let tag = format!("Tag {}", key.simple());
        let action = BulkAction::Tag { add: vec![tag.clone()], remove: Vec::new() };
        let job = bulk(&mut tx, key, action, Some(&tag), &articles).await?;
        tx.commit().await?;
        Ok(Some(job))
    }

    /// An archive with a source of its own.
    async fn import(&mut self, key: Uuid) -> Done<Uuid> {
        let archive = archive(key)?;
        let new = NewImport {
            source: key.to_string(),
            default_category: "Imported".to_owned(),
            dry_run: false,
            archive_removed: false,
            size_bytes: i64::try_from(archive.len())?,
            actor: editor().actor,
        };
        let mut tx = self.database.tenant(self.tenant).await?;
        let import = upload::create(&mut tx, &new).await?;
        for (ordinal, chunk) in archive.chunks(upload::CHUNK_BYTES).enumerate() {
            upload::add_chunk(&mut tx, import, i32::try_from(ordinal)?, chunk).await?;
        }
        sqlx::query("insert into torture.wanted_files select $1, unnest($2::text[])")
            .bind(&new.source)
            .bind((0..FILES).map(|number| file(number, key)).collect::<Vec<_>>())
            .execute(tx.connection())
            .await?;
        let job = upload::start(&mut tx, import, &new).await?;
        tx.commit().await?;
        Ok(job.uuid())
    }

    /// The words of its articles follow by a job.
    async fn rename_a_shelf(&mut self, key: Uuid) -> Done<Option<Uuid>> {
        let mut tx = self.database.tenant(self.tenant).await?;
        let mut shelves = taxonomy::all_tags(&mut tx).await?;
        shelves.retain(|tag| tag.name.starts_with(SHELF));
        if shelves.is_empty() {
            return Ok(None);
        }
        let shelf = shelves.swap_remove(self.random.random_range(0..shelves.len()));
        if self.random.random_bool(0.3) {
            taxonomy::delete_tag(&mut tx, &editor().actor, shelf.id).await?;
        } else {
            taxonomy::rename_tag(&mut tx, &editor().actor, shelf.id, &format!("{SHELF} {}", key.simple())).await?;
        }
        tx.commit().await?;
        Ok(None)
    }

    /// Views, and a job that counts them: in two transactions, since a crash of the server may lose those of the first.
    async fn read(&mut self) -> Done<Uuid> {
        let readers: Vec<String> = self.recent.iter().map(|_| self.random.random_range(0..3)).map(reader).collect();
        let mut tx = self.database.tenant(self.tenant).await?;
        sqlx::query(
            "insert into article_views (tenant_id, article_id, reader)
             select $1, article, reader from unnest($2::uuid[], $3::text[]) as new (article, reader) on conflict do nothing",
        )
        .bind(self.tenant.uuid())
        .bind(&self.recent)
        .bind(&readers)
        .execute(tx.connection())
        .await?;
        tx.commit().await?;
        let mut tx = self.database.tenant(self.tenant).await?;
        let job = queue::enqueue(&mut tx, &CountViews {}).await?;
        tx.commit().await?;
        Ok(job.uuid())
    }

    /// A search of today, one of long ago, and a job that forgets the latter.
    async fn forget(&mut self) -> Done<Uuid> {
        let mut tx = self.database.tenant(self.tenant).await?;
        sqlx::query(
            "with new as (
                 insert into searches (tenant_id, query, normalised, result_count, article_ids, took_ms, is_degraded, settled_at)
                 select $1, 'wheelbarrow', 'wheelbarrow', 0, '{}', 1, false, now() - make_interval(days => days)
                 from unnest(array[0, $2]) as days returning id, settled_at)
             insert into torture.wanted_searches select id from new where settled_at > now() - interval '1 day'",
        )
        .bind(self.tenant.uuid())
        .bind(LONG_AGO_DAYS)
        .execute(tx.connection())
        .await?;
        let job = queue::enqueue(&mut tx, &PruneHistory {}).await?;
        tx.commit().await?;
        Ok(job.uuid())
    }
}

fn editor() -> Writer {
    Writer { actor: "person:editor".to_owned(), is_editor: true }
}

fn reader(number: u32) -> String {
    format!("person:{number}")
}

async fn category(tx: &mut TenantTx) -> Done<Uuid> {
    if let Some(category) = taxonomy::ids_below(tx, "written").await?.first() {
        return Ok(*category);
    }
    let new = CategoryChange { name: Some("Written".to_owned()), ..CategoryChange::default() };
    Ok(taxonomy::create_category(tx, &editor().actor, &new).await?)
}

/// Enqueues a change of many articles in a name of its own, by which each article has to be changed once.
async fn bulk(tx: &mut TenantTx, key: Uuid, action: BulkAction, tag: Option<&str>, article_ids: &[Uuid]) -> Done<Uuid> {
    let actor = format!("person:{key}");
    sqlx::query(
        "insert into torture.wanted (actor, article, tag) select $1, article, $3 from unnest($2::uuid[]) as article",
    )
    .bind(&actor)
    .bind(article_ids)
    .bind(tag)
    .execute(tx.connection())
    .await?;
    Ok(queue::enqueue(tx, &BulkChange { action, article_ids: article_ids.to_vec(), actor }).await?.uuid())
}

fn archive(key: Uuid) -> Done<Vec<u8>> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for number in 0..FILES {
        writer.start_file(file(number, key), zip::write::SimpleFileOptions::default())?;
        let next = file((number + 1) % FILES, key);
        let text = format!("# File {number} of {key}\n\nAbout [what comes next]({next}) after wheelbarrows.\n");
        writer.write_all(text.as_bytes())?;
    }
    Ok(writer.finish()?.into_inner())
}

fn file(number: u32, key: Uuid) -> String {
    format!("{number}-{key}.md")
}
