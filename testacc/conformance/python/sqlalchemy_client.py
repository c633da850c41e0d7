"""SQLAlchemy over psycopg2: reflection, the ORM, transactions, streams."""
import sys

import sqlalchemy as sa
from sqlalchemy.orm import Session, declarative_base, relationship

from transcript import step

if sys.argv[1:] == ["version"]:
    print(sa.__version__)
    sys.exit()

engine = sa.create_engine("postgresql+psycopg2://", future=True)
Base = declarative_base()


class Author(Base):
    __tablename__ = "authors"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(50), unique=True)
    books = relationship("Book", back_populates="author", order_by="Book.id", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "books"
    id = sa.Column(sa.Integer, primary_key=True)
    title = sa.Column(sa.Text)
    price = sa.Column(sa.Numeric(8, 2))
    doc = sa.Column(sa.JSON)
    author_id = sa.Column(sa.ForeignKey("authors.id"))
    author = relationship("Author", back_populates="books")


step("create", lambda: Base.metadata.create_all(engine))


def reflect():
    m = sa.MetaData()
    m.reflect(engine)
    return [(t.name, [(c.name, str(c.type), c.nullable) for c in t.columns], sorted(str(f.target_fullname) for f in t.foreign_keys)) for t in m.sorted_tables]


step("reflect", reflect)
inspector = sa.inspect(engine)
step("inspect", lambda: (inspector.get_schema_names(), sorted(inspector.get_view_names()), inspector.get_indexes("notes"), inspector.get_check_constraints("people"), inspector.get_enums("app")))


def orm():
    with Session(engine) as s:
        s.add(Author(name="x", books=[Book(title="a", price=1.5, doc={"k": [1]}), Book(title="b")]))
        s.commit()
        a = s.execute(sa.select(Author)).scalar_one()
        out = [(b.title, b.price, b.doc) for b in a.books]
        a.books.pop()
        a.name = "y"
        s.commit()
        return out, s.execute(sa.select(sa.func.count(Book.id), sa.func.max(Author.name)).join(Author)).all()


step("orm", orm)


def unique():
    with Session(engine) as s:
        with s.begin():
            s.add(Author(name="z"))
            s.flush()
            try:
                with s.begin_nested():
                    s.add(Author(name="y"))
                    s.flush()
            except sa.exc.IntegrityError as e:
                print("in it", e.orig.pgcode)
        return s.execute(sa.select(Author.name).order_by(Author.name)).scalars().all()


step("savepoint", unique)


def core():
    people = sa.Table("people", sa.MetaData(), autoload_with=engine)
    with engine.begin() as c:
        c.execute(sa.insert(people), [{"name": f"p{i}"} for i in range(50)])
        n = c.execute(sa.select(sa.func.count()).select_from(people)).scalar()
        some = c.execute(sa.select(people.c.name, people.c.tags, people.c.score).where(people.c.name.in_(["ana", "p7"])).order_by(people.c.id)).all()
        returned = c.execute(sa.delete(people).where(people.c.name.like("p%")).returning(people.c.name)).all()
        return n, some, len(returned)


step("core", core)


def stream():
    with engine.connect() as c:
        result = c.execution_options(stream_results=True, max_row_buffer=10).execute(sa.text("select generate_series(1, 100) as g"))
        return [len(p) for p in result.partitions(30)]


step("stream", stream)


def level():
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as c:
        return c.execute(sa.text("show transaction_isolation")).scalar(), c.get_isolation_level()


step("isolation", level)


def two_phase():
    with engine.connect() as c:
        t = c.begin_twophase("tp1")
        c.execute(sa.text("insert into notes values (500, 1, 'tp')"))
        t.prepare()
        t.commit()
        return c.execute(sa.text("select body from notes where id = 500")).scalar()


step("two-phase", two_phase)
step("error", lambda: engine.connect().execute(sa.text("select nothing")))
step("drop", lambda: Base.metadata.drop_all(engine))
