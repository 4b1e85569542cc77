//! Products in SQLite. Each operation is measured: its time, its outcome, its rows.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use watchfire_client::monitor_database_operation;

/// One product.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Product {
    /// Its id.
    pub(crate) id: i64,
    /// Its name.
    pub(crate) name: String,
    /// What kind it is.
    pub(crate) category: String,
    /// Its price in cents.
    pub(crate) price: i64,
    /// Images that are fetched.
    pub(crate) images: i64,
}

/// The database; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store(Arc<Mutex<Connection>>);

const CATEGORIES: [&str; 4] = ["lamps", "chairs", "tables", "shelves"];

impl Store {
    /// Opens the database at `path`, or one in memory, and fills it if it is empty.
    pub(crate) fn open(path: Option<&Path>) -> rusqlite::Result<Self> {
        let connection = path.map_or_else(Connection::open_in_memory, Connection::open)?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL,
                price INTEGER NOT NULL CHECK (price > 0), images INTEGER NOT NULL DEFAULT 0);
             CREATE UNIQUE INDEX IF NOT EXISTS product_names ON products (name);",
        )?;
        let store = Self(Arc::new(Mutex::new(connection)));
        if store.count()? == 0 {
            for number in 0..200 {
                let category = CATEGORIES[number % CATEGORIES.len()];
                store.insert(&format!("{category} no. {number}"), category, 990 + number as i64 * 10)?;
            }
        }
        Ok(store)
    }

    fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        work(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self) -> rusqlite::Result<i64> {
        self.with(|connection| connection.query_row("SELECT count(*) FROM products", [], |row| row.get(0)))
    }

    /// Returns the products of a category, all if it is empty.
    #[monitor_database_operation(operation = "SELECT", table = "products")]
    pub(crate) fn list(&self, category: &str, limit: u32) -> rusqlite::Result<Vec<Product>> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, name, category, price, images FROM products WHERE ?1 = '' OR category = ?1 ORDER BY id LIMIT ?2",
            )?;
            statement.query_map(params![category, limit], product)?.collect()
        })
    }

    /// Returns one product.
    #[monitor_database_operation(operation = "SELECT", table = "products")]
    pub(crate) fn find(&self, id: i64) -> rusqlite::Result<Option<Product>> {
        self.with(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT id, name, category, price, images FROM products WHERE id = ?1")?;
            statement.query_row([id], product).optional()
        })
    }

    /// Adds a product. Its name must be new, and its price above nothing.
    #[monitor_database_operation(operation = "INSERT", table = "products")]
    pub(crate) fn insert(&self, name: &str, category: &str, price: i64) -> rusqlite::Result<usize> {
        self.with(|connection| {
            connection.execute("INSERT INTO products (name, category, price) VALUES (?1, ?2, ?3)", params![name, category, price])
        })
    }

    /// Notes that an image of a product is fetched.
    #[monitor_database_operation(operation = "UPDATE", table = "products")]
    pub(crate) fn add_image(&self, id: i64) -> rusqlite::Result<usize> {
        self.with(|connection| connection.execute("UPDATE products SET images = images + 1 WHERE id = ?1", [id]))
    }
}

fn product(row: &rusqlite::Row<'_>) -> rusqlite::Result<Product> {
    Ok(Product { id: row.get(0)?, name: row.get(1)?, category: row.get(2)?, price: row.get(3)?, images: row.get(4)? })
}

impl Store {
    /// Returns what is in a table that nobody made: a mistake, as programs have them.
    #[monitor_database_operation(operation = "SELECT", table = "archive")]
    pub(crate) fn list_archive(&self) -> rusqlite::Result<Vec<Product>> {
        self.with(|connection| connection.prepare("SELECT * FROM archive")?.query_map([], product)?.collect())
    }
}
