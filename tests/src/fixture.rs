//! Help centers for tests: small folders of files, imported by the real import.

use std::path::Path;

use shared::{
    knowledge::import::{self, SyncOptions, SyncReport},
    tenancy::TenantId,
};

use crate::TestDatabase;

/// A folder that goes away with the test.
#[derive(Debug)]
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// A folder with these files: path and content.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (path, content) in files {
            folder.write(path, content);
        }
        folder
    }

    /// Writes a file.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Deletes a file.
    pub fn delete(&self, path: &str) {
        std::fs::remove_file(self.0.path().join(path)).unwrap();
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Options to import it under the name `files`.
    pub fn options(&self) -> SyncOptions {
        SyncOptions {
            root: self.path().to_owned(),
            source: "files".to_owned(),
            default_category: "General".to_owned(),
            dry_run: false,
            archive_removed: false,
        }
    }
}

/// Imports a folder as usual.
pub async fn import(db: &TestDatabase, tenant: TenantId, folder: &Folder) -> SyncReport {
    import_with(db, tenant, &folder.options()).await
}

/// Imports a folder with options.
pub async fn import_with(db: &TestDatabase, tenant: TenantId, options: &SyncOptions) -> SyncReport {
    import::sync(&db.database, tenant, options, &|_, _, _| {}).await.unwrap()
}

/// The bytes of an image that is like no other.
pub fn png(what: &str) -> Vec<u8> {
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0", what.as_bytes()].concat()
}

/// An article for everybody.
pub fn article(title: &str, text: &str) -> String {
    article_for(title, &["all"], text)
}

/// An article for some roles.
pub fn article_for(title: &str, roles: &[&str], text: &str) -> String {
    format!("---\ntitle: {title:?}\ntarget_roles: {roles:?}\n---\n\n{text}\n")
}
