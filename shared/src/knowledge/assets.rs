//! Images that articles show. They lie in PostgreSQL, once per tenant whatever their names are, and are addressed by what is
//! in them: `/assets/{hash}/{name}`, where the hash is the SHA-256 in hexadecimal and the name is for people.
//!
//! What a file is, its bytes say and not its name. Who may see an image, the articles that show it say.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::slug::slugify;
use crate::{auth::Roles, db::TenantTx};

/// Larger images are refused.
pub const MAX_BYTES: usize = 5 * 1024 * 1024;
/// How long an image that no article shows is kept, in days: somebody may be about to write about it.
const GRACE_DAYS: i32 = 7;
/// Most characters of a name without its ending.
const MAX_NAME_CHARS: usize = 80;

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// Portable Network Graphics.
    Png,
    /// JPEG.
    Jpeg,
    /// GIF.
    Gif,
    /// WebP.
    Webp,
    /// AVIF.
    Avif,
    /// Scalable Vector Graphics: a document that could run script where it is opened by itself.
    Svg,
}

impl MediaType {
    /// As stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
            Self::Avif => "image/avif",
            Self::Svg => "image/svg+xml",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Gif => "gif",
            Self::Webp => "webp",
            Self::Avif => "avif",
            Self::Svg => "svg",
        }
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        if is_svg(bytes) {
            return Some(Self::Svg);
        }
        match infer::get(bytes)?.mime_type() {
            "image/png" => Some(Self::Png),
            "image/jpeg" => Some(Self::Jpeg),
            "image/gif" => Some(Self::Gif),
            "image/webp" => Some(Self::Webp),
            "image/avif" => Some(Self::Avif),
            _ => None,
        }
    }
}

/// Whether the first element of a text is `svg`. Whatever passes for one is sent as something that cannot run.
fn is_svg(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        let end = match rest {
            _ if rest.starts_with("<?") => "?>",
            _ if rest.starts_with("<!--") => "-->",
            _ if rest.starts_with("<!") => ">",
            _ => {
                return rest
                    .strip_prefix("<svg")
                    .is_some_and(|rest| rest.starts_with([' ', '\t', '\r', '\n', '>', '/']));
            }
        };
        let Some((_, behind)) = rest.split_once(end) else { return false };
        rest = behind.trim_start();
    }
}

/// Why something is no image that articles can show; a sentence without its subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssetError {
    /// It is larger than [`MAX_BYTES`].
    #[error("has {bytes} bytes; at most {} MiB are taken", MAX_BYTES / (1024 * 1024))]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// Its bytes are not those of an image that browsers show.
    #[error("is none: its bytes are not those of a PNG, JPEG, GIF, WebP, AVIF or SVG file")]
    NotAnImage,
}

/// An image that may be stored.
#[derive(Debug)]
pub struct Image<'a> {
    bytes: &'a [u8],
    media_type: MediaType,
    hash: String,
}

impl<'a> Image<'a> {
    /// Looks at the bytes.
    pub fn of(bytes: &'a [u8]) -> Result<Self, AssetError> {
        if bytes.len() > MAX_BYTES {
            return Err(AssetError::TooLarge { bytes: bytes.len() as u64 });
        }
        let media_type = MediaType::of(bytes).ok_or(AssetError::NotAnImage)?;
        Ok(Self { bytes, media_type, hash: hexadecimal(&Sha256::digest(bytes)) })
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An image without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Identity within the tenant.
    pub id: Uuid,
    /// SHA-256 of the bytes, in hexadecimal.
    pub hash: String,
    /// The last part of its address.
    pub name: String,
    /// Its type.
    pub media_type: String,
}

impl Asset {
    /// Where it is, from the root of the site.
    pub fn address(&self) -> String {
        address(&self.hash, &self.name)
    }
}

/// Where an image is, from the root of the site.
pub fn address(hash: &str, name: &str) -> String {
    format!("/assets/{hash}/{name}")
}

/// The hash in the address of an image.
pub(super) fn hash_in_address(destination: &str) -> Option<&str> {
    let (hash, name) = destination.strip_prefix("/assets/")?.split_once('/')?;
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_hash && !name.is_empty() && !name.contains('/')).then_some(hash)
}

/// Keeps an image, unless the tenant has it already. Its name is made of that of its file, and the
/// first one stays. Also whether it is new.
pub async fn put(tx: &mut TenantTx, file_name: &str, image: &Image<'_>) -> Result<(Asset, bool), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let name = asset_name(file_name, image.media_type);
    let row = sqlx::query!(
        r#"insert into assets (tenant_id, hash, name, media_type, bytes) values ($1, $2, $3, $4, $5)
           on conflict (tenant_id, hash) do update set unused_since = null
           returning id, hash, name, media_type, (xmax = 0) as "is_new!""#,
        tenant,
        image.hash,
        name,
        image.media_type.as_str(),
        image.bytes
    )
    .fetch_one(tx.connection())
    .await?;
    Ok((Asset { id: row.id, hash: row.hash, name: row.name, media_type: row.media_type }, row.is_new))
}

fn asset_name(file_name: &str, media_type: MediaType) -> String {
    let file_name = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name);
    let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
    let stem = slugify(stem).map_or_else(|| "image".to_owned(), |slug| slug.to_string());
    let stem: String = stem.chars().take(MAX_NAME_CHARS).collect();
    format!("{}.{}", stem.trim_end_matches('-'), media_type.extension())
}

/// The image with this hash.
pub(super) async fn id_of(tx: &mut TenantTx, hash: &str) -> Result<Option<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!("select id from assets where tenant_id = $1 and hash = $2", tenant, hash)
        .fetch_optional(tx.connection())
        .await
}

/// Whether there is an image with this hash, and the caller may see it: somebody who writes sees all, others what an article
/// shows that they may see.
pub async fn visible(
    tx: &mut TenantTx,
    roles: &Roles,
    may_write: bool,
    hash: &str,
) -> Result<Option<Asset>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Asset,
        "select s.id, s.hash, s.name, s.media_type from assets s
         where s.tenant_id = $1 and s.hash = $2
           and ($3 or exists (
               select from article_links l join articles a on a.tenant_id = l.tenant_id and a.id = l.article_id
               where l.tenant_id = s.tenant_id and l.asset_id = s.id and l.is_shown
                 and article_is_visible(a.status, a.target_roles, $4)))",
        tenant,
        hash,
        may_write,
        roles.as_slice()
    )
    .fetch_optional(tx.connection())
    .await
}

/// The bytes of an image.
pub async fn bytes(tx: &mut TenantTx, id: Uuid) -> Result<Vec<u8>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!("select bytes from assets where tenant_id = $1 and id = $2", tenant, id)
        .fetch_one(tx.connection())
        .await
}

/// Notes which images no article shows, and deletes those for which this was noted a week ago or earlier. Returns how many
/// were deleted.
pub async fn prune(tx: &mut TenantTx) -> Result<u64, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "update assets s set unused_since = case when unused_since is null then now() end
         where tenant_id = $1 and (unused_since is null) = (not exists (
             select from article_links l where l.tenant_id = s.tenant_id and l.asset_id = s.id))",
        tenant
    )
    .execute(tx.connection())
    .await?;
    let deleted = sqlx::query!(
        "delete from assets where tenant_id = $1 and id in (
             select s.id from assets s
             where s.tenant_id = $1 and s.unused_since < now() - make_interval(days => $2)
               and not exists (select from article_links l where l.tenant_id = s.tenant_id and l.asset_id = s.id)
             for update skip locked)",
        tenant,
        GRACE_DAYS
    )
    .execute(tx.connection())
    .await?;
    Ok(deleted.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_say_what_an_image_is() {
        for (bytes, expected) in [
            (&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], Some(MediaType::Png)),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", Some(MediaType::Jpeg)),
            (b"GIF89a", Some(MediaType::Gif)),
            (b"RIFF\x24\0\0\0WEBPVP8 ", Some(MediaType::Webp)),
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", Some(MediaType::Avif)),
            (b"<svg/>", Some(MediaType::Svg)),
            (
                b"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<!-- a > b --><!DOCTYPE svg>\n<svg xmlns=\"x\">",
                Some(MediaType::Svg),
            ),
            (b"<html><svg></svg></html>", None),
            (b"<svgx>", None),
            (b"<!-- never ends", None),
            (b"%PDF-1.7", None),
            (b"MZ\x90\0", None),
            (b"", None),
        ] {
            assert_eq!(MediaType::of(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(
            Image::of(&vec![0; MAX_BYTES + 1]).err(),
            Some(AssetError::TooLarge { bytes: MAX_BYTES as u64 + 1 })
        );
    }

    #[test]
    fn names_are_fit_for_addresses_and_stay_what_they_are() {
        for (file, expected) in [
            ("Screen Shot 1.PNG", "screen-shot-1.png"),
            ("logo", "logo.png"),
            ("../../etc/passwd", "passwd.png"),
            ("???.exe", "image.png"),
            ("画面.jpeg", "画面.png"),
        ] {
            let name = asset_name(file, MediaType::Png);
            assert_eq!(name, expected);
            assert_eq!(asset_name(&name, MediaType::Png), name);
        }
        let long = asset_name(&"a b ".repeat(200), MediaType::Svg);
        assert!(long.chars().count() <= 120 && asset_name(&long, MediaType::Svg) == long, "{long}");
    }

    #[test]
    fn addresses_of_images_are_told_from_others() {
        let hash = "0".repeat(64);
        assert_eq!(hash_in_address(&address(&hash, "a.png")), Some(hash.as_str()));
        for other in
            ["/assets/site.css", "/assets/00/a.png", "/assets/x/y/z", "/articles/a/", &format!("/assets/{hash}/")]
        {
            assert_eq!(hash_in_address(other), None, "{other}");
        }
    }
}
