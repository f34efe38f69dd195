# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The shop's database: made once from a fixed seed, copied for every episode."""

import functools
import random
import sqlite3
import weakref
from datetime import date, timedelta
from types import MappingProxyType


TODAY = date(2026, 6, 30)
RETURNABLE_SINCE = date(2026, 5, 31)

COLORS = ("black", "white", "red", "blue", "green")
SIZES = ("small", "medium", "large", "huge")
PRODUCTS = MappingProxyType(
    {
        **dict.fromkeys(("desk lamp", "teapot", "umbrella", "suitcase", "clock", "kettle", "radio", "helmet"), COLORS),
        **dict.fromkeys(("yoga mat", "pencil case", "office chair", "water bottle", "speaker", "wallet"), COLORS),
        **dict.fromkeys(("hoodie", "raincoat", "dog bed", "tent", "ski gloves", "frying pan"), SIZES),
    }
)
FIRST_NAMES = (
    *("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gina", "Hugo", "Ida", "Jack"),
    *("Kira", "Leo", "Mia", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tara", "Walt"),
)
LAST_NAMES = (
    *("Adler", "Berg", "Costa", "Dunn", "Ellis", "Frost", "Gray", "Hill", "Irwin", "Jonas"),
    *("Kent", "Lopez", "Moss", "Nash", "Owens", "Pratt", "Quinn", "Reyes", "Stone", "Voss"),
)
STREETS = ("Elm Street", "Oak Lane", "Mill Road", "Park Avenue", "Lake Street", "Hill Road", "Rose Lane")
CITIES = ("Oslo", "Lima", "Cairo", "Delhi", "Quito", "Paris", "Rome", "Tokyo")
PAYMENT_METHODS = ("card", "paypal", "voucher")
CANCEL_REASONS = ("mistake", "unneeded")
RETURN_REASONS = ("faulty", "unwanted")
RETURN_FEE = 500

NUM_CUSTOMERS = 300

SCHEMA = """
CREATE TABLE customers (
    customer_id TEXT PRIMARY KEY COLLATE NOCASE,
    name TEXT NOT NULL COLLATE NOCASE,
    email TEXT NOT NULL UNIQUE COLLATE NOCASE,
    zip_code TEXT NOT NULL,
    UNIQUE (name, zip_code)
);
CREATE TABLE products (
    product_id TEXT PRIMARY KEY COLLATE NOCASE,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE
);
CREATE TABLE variants (
    variant_id TEXT PRIMARY KEY COLLATE NOCASE,
    product_id TEXT NOT NULL REFERENCES products,
    option TEXT NOT NULL,
    price INTEGER NOT NULL,  -- cents, as all money
    stock INTEGER NOT NULL CHECK (stock >= 0),
    UNIQUE (product_id, option)
);
CREATE TABLE orders (
    order_id TEXT PRIMARY KEY COLLATE NOCASE,
    customer_id TEXT NOT NULL REFERENCES customers,
    status TEXT NOT NULL CHECK (status IN ('processing', 'shipped', 'delivered', 'cancelled')),
    shipped_on TEXT,
    delivered_on TEXT,
    street TEXT NOT NULL,
    city TEXT NOT NULL,
    zip_code TEXT NOT NULL,
    paid_with TEXT NOT NULL,
    cancel_reason TEXT
);
CREATE INDEX orders_of_customer ON orders (customer_id);
CREATE TABLE items (
    item_id TEXT PRIMARY KEY COLLATE NOCASE,
    order_id TEXT NOT NULL REFERENCES orders,
    variant_id TEXT NOT NULL REFERENCES variants,
    price INTEGER NOT NULL,
    return_reason TEXT
);
CREATE INDEX items_of_order ON items (order_id);
CREATE TABLE payments (
    payment_id INTEGER PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders,
    method TEXT NOT NULL,
    amount INTEGER NOT NULL  -- below 0: a refund
);
CREATE INDEX payments_of_order ON payments (order_id);
"""
TABLES = ("customers", "products", "variants", "orders", "items", "payments")

NO_RECORD = "There is no such record."


class ShopError(Exception):
    """The database has no such record, or the record does not allow what was asked for. The agent reads the text."""


class Shop:
    """
    A fresh copy of the shop's database, with the operations of the desk.

    The operations keep the database consistent. They do not enforce the shop's policy: a shipped order can be
    cancelled here, and an old item returned.

    Attributes:
        found (`set[str]`):
            Ids of the customers that were found.
    """

    def __init__(self):
        self.found: set[str] = set()
        # The tools of an episode run one after another, but not always on the same thread
        self.db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self.db.close)
        self.db.deserialize(_template())
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA foreign_keys = ON")

    def find_customer(self, email: str, name: str, zip_code: str) -> str:
        customer = self._row(
            "SELECT * FROM customers WHERE email = ? OR (name = ? AND zip_code = ?)",
            *(email.strip(), name.strip(), zip_code.strip()),
        )
        self.found.add(customer["customer_id"])
        return "{customer_id} {name}".format(**customer)

    def list_orders(self, customer_id: str) -> str:
        self._row("SELECT * FROM customers WHERE customer_id = ?", customer_id.strip())
        orders = self.db.execute(
            """
            SELECT order_id, status, group_concat(name, ', ') AS names
            FROM orders JOIN items USING (order_id) JOIN variants USING (variant_id) JOIN products USING (product_id)
            WHERE customer_id = ? GROUP BY order_id
            """,
            (customer_id.strip(),),
        )
        return "\n".join("{order_id} {status}: {names}".format(**order) for order in orders)

    def get_order(self, order_id: str) -> str:
        order = self._order(order_id)
        items = self.db.execute(
            """
            SELECT items.*, option, name FROM items JOIN variants USING (variant_id) JOIN products USING (product_id)
            WHERE order_id = ? ORDER BY item_id
            """,
            (order["order_id"],),
        )
        lines = [
            "{order_id} of {customer_id}, {status}".format(**order),
            *(f"{event} on {order[f'{event}_on']}" for event in ("shipped", "delivered") if order[f"{event}_on"]),
            "to {street}, {city}, {zip_code}".format(**order),
            f"paid {money(self._paid(order))} with {order['paid_with']}",
        ]
        for item in items:
            returned = f", returned as {item['return_reason']}" if item["return_reason"] else ""
            lines.append(f"{item['item_id']} {item['name']}, {item['option']}, {money(item['price'])}{returned}")
        return "\n".join(lines)

    def get_product(self, name: str) -> str:
        variants = self.db.execute(
            "SELECT variants.* FROM variants JOIN products USING (product_id) WHERE name = ? ORDER BY variant_id",
            (name.strip(),),
        ).fetchall()
        if not variants:
            raise ShopError(NO_RECORD)
        return "\n".join(f"{v['variant_id']} {v['option']}, {money(v['price'])}, {v['stock']} left" for v in variants)

    def cancel_order(self, order_id: str, reason: str) -> str:
        order = self._order(order_id)
        if reason not in CANCEL_REASONS:
            raise ShopError(f"The reason is one of: {', '.join(CANCEL_REASONS)}.")
        if order["status"] == "cancelled":
            raise ShopError("The order is cancelled.")
        self.db.execute(
            "UPDATE orders SET status = 'cancelled', cancel_reason = ? WHERE order_id = ?", (reason, order["order_id"])
        )
        self.db.execute(
            """
            UPDATE variants SET stock = stock + 1
            WHERE variant_id IN (SELECT variant_id FROM items WHERE order_id = ? AND return_reason IS NULL)
            """,
            (order["order_id"],),
        )
        return self._settle(order, -self._paid(order))

    def change_address(self, order_id: str, street: str, city: str, zip_code: str) -> None:
        order = self._order(order_id)
        # However the agent spells it: "12  elm street," is 12 Elm Street
        street, city, zip_code = (" ".join(part.split()).strip(" .,").title() for part in (street, city, zip_code))
        self.db.execute(
            "UPDATE orders SET street = ?, city = ?, zip_code = ? WHERE order_id = ?",
            (street, city, zip_code, order["order_id"]),
        )

    def return_item(self, item_id: str, reason: str) -> str:
        item, order = self._sold_item(item_id)
        if reason not in RETURN_REASONS:
            raise ShopError(f"The reason is one of: {', '.join(RETURN_REASONS)}.")
        self.db.execute("UPDATE items SET return_reason = ? WHERE item_id = ?", (reason, item["item_id"]))
        fee = RETURN_FEE if reason == "unwanted" else 0
        return self._settle(order, fee - item["price"])

    def exchange_item(self, item_id: str, variant_id: str) -> str:
        item, order = self._sold_item(item_id)
        old = self._row("SELECT * FROM variants WHERE variant_id = ?", item["variant_id"])
        new = self._row("SELECT * FROM variants WHERE variant_id = ?", variant_id.strip())
        if new["product_id"] != old["product_id"] or new["variant_id"] == old["variant_id"]:
            raise ShopError("An exchange is for another option of the same product.")
        if not new["stock"]:
            raise ShopError("That option is out of stock.")
        self.db.execute("UPDATE variants SET stock = stock - 1 WHERE variant_id = ?", (new["variant_id"],))
        self.db.execute("UPDATE variants SET stock = stock + 1 WHERE variant_id = ?", (old["variant_id"],))
        self.db.execute(
            "UPDATE items SET variant_id = ?, price = ? WHERE item_id = ?",
            (new["variant_id"], new["price"], item["item_id"]),
        )
        return self._settle(order, new["price"] - item["price"])

    def snapshot(self) -> dict[str, list[tuple]]:
        """Every row of every table. No operation deletes or moves a row, so equal contents have equal snapshots."""
        cursor = self.db.cursor()
        cursor.row_factory = None
        return {table: cursor.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall() for table in TABLES}

    def equals(self, other: "Shop") -> bool:
        """Whether both have the same content. Comparing the files is twenty times as fast as comparing the rows."""
        return self.db.serialize() == other.db.serialize() or self.snapshot() == other.snapshot()

    def _row(self, query: str, *values: str) -> sqlite3.Row:
        row = self.db.execute(query, values).fetchone()
        if row is None:
            raise ShopError(NO_RECORD)
        return row

    def _order(self, order_id: str) -> sqlite3.Row:
        return self._row("SELECT * FROM orders WHERE order_id = ?", order_id.strip(" #"))

    def _sold_item(self, item_id: str) -> tuple[sqlite3.Row, sqlite3.Row]:
        item = self._row("SELECT * FROM items WHERE item_id = ?", item_id.strip(" #"))
        order = self._order(item["order_id"])
        if item["return_reason"] or order["status"] == "cancelled":
            raise ShopError("The item is returned or cancelled.")
        return item, order

    def _paid(self, order: sqlite3.Row) -> int:
        return self._row("SELECT sum(amount) AS total FROM payments WHERE order_id = ?", order["order_id"])["total"]

    def _settle(self, order: sqlite3.Row, amount: int) -> str:
        self.db.execute(
            "INSERT INTO payments (order_id, method, amount) VALUES (?, ?, ?)",
            (order["order_id"], order["paid_with"], amount),
        )
        return f"{'refunded' if amount < 0 else 'charged'} {money(abs(amount))} to {order['paid_with']}"


def money(cents: int) -> str:
    """An amount in cents as the shop writes it, such as `"$45.50"`."""
    return f"${cents / 100:.2f}"


@functools.cache
def _template() -> bytes:
    """The shop as it is before every episode."""
    db = sqlite3.connect(":memory:")
    db.executescript(SCHEMA)
    rng = random.Random(0)

    variants: dict[str, list[tuple[str, int]]] = {}
    variant_ids = iter(rng.sample(range(100, 1000), 200))
    for i, (product, options) in enumerate(PRODUCTS.items()):
        db.execute("INSERT INTO products VALUES (?, ?)", (f"P{i + 10}", product))
        prices = rng.sample(range(800, 9900, 50), len(options))
        variants[product] = [(f"V{next(variant_ids)}", price) for price in prices]
        for option, (variant_id, price) in zip(options, variants[product], strict=True):
            stock = rng.choice((0, 0, 1, 2, 3, 5, 8))
            db.execute("INSERT INTO variants VALUES (?, ?, ?, ?, ?)", (variant_id, f"P{i + 10}", option, price, stock))

    names = rng.sample([(first, last) for first in FIRST_NAMES for last in LAST_NAMES], NUM_CUSTOMERS)
    customer_ids = rng.sample(range(1000, 10000), NUM_CUSTOMERS)
    order_ids = iter(rng.sample(range(1000, 10000), 4 * NUM_CUSTOMERS))
    item_ids = iter(rng.sample(range(1000, 10000), 9 * NUM_CUSTOMERS))
    for customer_id, (first, last) in zip(customer_ids, names, strict=True):
        email = f"{first}.{last}{rng.randrange(10, 100)}@mail.com".lower()
        zip_code = str(rng.randrange(10000, 100000))
        db.execute(
            "INSERT INTO customers VALUES (?, ?, ?, ?)", (f"C{customer_id}", f"{first} {last}", email, zip_code)
        )
        # A customer buys no product twice, so that naming one names the order
        basket = iter(rng.sample(list(PRODUCTS), 9))
        for _ in range(rng.randint(2, 4)):
            order_id = f"W{next(order_ids)}"
            _insert_order(db, rng, order_id, f"C{customer_id}", zip_code)
            total = 0
            for _ in range(rng.choice((1, 2, 2))):
                variant_id, price = rng.choice(variants[next(basket)])
                db.execute(
                    "INSERT INTO items VALUES (?, ?, ?, ?, NULL)", (f"I{next(item_ids)}", order_id, variant_id, price)
                )
                total += price
            db.execute(
                """
                INSERT INTO payments (order_id, method, amount)
                SELECT order_id, paid_with, ? FROM orders WHERE order_id = ?
                """,
                (total, order_id),
            )
    db.commit()
    template = db.serialize()
    db.close()
    return template


def _insert_order(db: sqlite3.Connection, rng: random.Random, order_id: str, customer_id: str, zip_code: str) -> None:
    status = rng.choice(("processing", "processing", "shipped", "delivered", "delivered"))
    delivered_on = shipped_on = None
    if status == "delivered":
        since = RETURNABLE_SINCE if rng.random() < 0.6 else RETURNABLE_SINCE - timedelta(days=30)
        delivered_on = since + timedelta(days=rng.randrange(30))
        shipped_on = delivered_on - timedelta(days=rng.randint(2, 6))
    elif status == "shipped":
        shipped_on = TODAY - timedelta(days=rng.randint(1, 29))
    street = f"{rng.randrange(1, 200)} {rng.choice(STREETS)}"
    db.execute(
        "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
        (
            *(order_id, customer_id, status),
            *(day and day.isoformat() for day in (shipped_on, delivered_on)),
            *(street, rng.choice(CITIES), zip_code, rng.choice(PAYMENT_METHODS)),
        ),
    )
