import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

/** JDBC: prepareThreshold, fetch size, batches, COPY, large objects by the fast path, query modes. */
public class Client {
	interface Action {
		Object run() throws Exception;
	}

	static void step(String name, Action action) {
		String out;
		try {
			out = String.valueOf(action.run());
		} catch (BatchUpdateException e) {
			out = "BatchUpdateException " + e.getSQLState() + " " + java.util.Arrays.toString(e.getUpdateCounts());
		} catch (SQLException e) {
			ServerErrorMessage m = e instanceof PSQLException p ? p.getServerErrorMessage() : null;
			out = e.getClass().getSimpleName() + " " + e.getSQLState() + " " + e.getMessage()
				+ (m == null ? "" : " " + m.getSeverity() + " " + m.getPosition() + " " + m.getRoutine());
		} catch (Exception e) {
			out = e.toString();
		}
		System.out.println(name + ": " + out);
	}

	static Connection connect(String... settings) throws SQLException {
		Properties p = new Properties();
		p.setProperty("user", System.getenv("PGUSER"));
		p.setProperty("password", System.getenv("PGPASSWORD"));
		p.setProperty("sslmode", System.getenv("PGSSLMODE"));
		p.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
		for (int i = 0; i + 1 < settings.length; i += 2) p.setProperty(settings[i], settings[i + 1]);
		return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"), p);
	}

	static String rows(ResultSet r) throws SQLException {
		StringBuilder b = new StringBuilder();
		int n = r.getMetaData().getColumnCount();
		while (r.next()) {
			b.append('(');
			for (int i = 1; i <= n; i++) b.append(i > 1 ? "," : "").append(r.getString(i));
			b.append(')');
		}
		return b.toString();
	}

	static String query(Connection c, String sql) throws SQLException {
		try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
			return rows(r);
		}
	}

	public static void main(String[] args) throws Exception {
		if (args.length > 0) {
			System.out.println(org.postgresql.util.DriverInfo.DRIVER_VERSION);
			return;
		}
		for (String mode : new String[] {"extended", "simple", "extendedForPrepared", "extendedCacheEverything"}) {
			try (Connection c = connect("preferQueryMode", mode)) {
				System.out.println("== " + mode);
				basics(c);
			}
		}
		for (String threshold : new String[] {"1", "3", "-1", "0"}) {
			try (Connection c = connect("prepareThreshold", threshold)) {
				System.out.println("== prepareThreshold " + threshold);
				prepared(c);
			}
		}
		try (Connection c = connect("reWriteBatchedInserts", "true")) {
			step("rewritten batch", () -> batch(c));
		}
		try (Connection c = connect()) {
			rest(c);
		}
		try (Connection c = connect("autosave", "always")) {
			step("autosave", () -> {
				c.setAutoCommit(false);
				query(c, "select 1");
				try {
					query(c, "select 1/0");
				} catch (SQLException e) {
					System.out.println("in it " + e.getSQLState());
				}
				return query(c, "select 2");
			});
		}
	}

	static void basics(Connection c) {
		step("simple", () -> query(c, "select 1, null, true, 'é'"));
		step("types", () -> query(c, "select id, name, mood, short, pair, tags, doc, score, born, seen, raw from people order by id"));
		step("several", () -> {
			Statement s = c.createStatement();
			boolean more = s.execute("select 1; create temp table if not exists sev(a int); insert into sev values (1), (2); select count(*) from sev");
			StringBuilder b = new StringBuilder();
			while (more || s.getUpdateCount() != -1) {
				b.append(more ? rows(s.getResultSet()) : "count " + s.getUpdateCount()).append(' ');
				more = s.getMoreResults();
			}
			s.execute("drop table sev");
			return b;
		});
		step("parameters", () -> {
			PreparedStatement s = c.prepareStatement("select ?::int + 1, ?::text, ?::date");
			s.setInt(1, 41);
			s.setString(2, "o'b");
			s.setDate(3, java.sql.Date.valueOf("2024-02-29"));
			return rows(s.executeQuery());
		});
		step("error", () -> query(c, "select nothing"));
		step("division", () -> query(c, "select 1/0"));
		step("unique", () -> query(c, "insert into notes values (1, 1, 'x') returning id"));
		step("after", () -> query(c, "select 1"));
	}

	static void prepared(Connection c) throws SQLException {
		PreparedStatement s = c.prepareStatement("select ?::int * 2 as v, id from people where id <= ? order by id");
		for (int i = 0; i < 6; i++) {
			int n = i;
			step("run " + i, () -> {
				s.setInt(1, n);
				s.setInt(2, 2);
				return rows(s.executeQuery());
			});
		}
		step("the table changes", () -> {
			c.createStatement().execute("create temp table ch(a int)");
			PreparedStatement p = c.prepareStatement("select * from ch");
			StringBuilder b = new StringBuilder();
			for (int i = 0; i < 6; i++) {
				try {
					b.append(rows(p.executeQuery())).append(';');
				} catch (SQLException e) {
					b.append(e.getSQLState()).append(';');
				}
				if (i == 3) c.createStatement().execute("alter table ch add b int; insert into ch values (1, 2)");
			}
			return b;
		});
		step("deallocate all", () -> {
			c.createStatement().execute("deallocate all");
			s.setInt(1, 1);
			s.setInt(2, 1);
			return rows(s.executeQuery());
		});
		step("metadata", () -> {
			ResultSetMetaData m = c.prepareStatement("select id, name, score from people where id = ?").getMetaData();
			return m.getColumnName(1) + m.getColumnTypeName(2) + m.getPrecision(3) + m.isNullable(1);
		});
		step("parameter metadata", () -> c.prepareStatement("select 1 from people where id = ? and name = ?").getParameterMetaData().getParameterTypeName(2));
	}

	static Object batch(Connection c) throws SQLException {
		PreparedStatement s = c.prepareStatement("insert into notes values (?, 1, ?)");
		for (int i = 0; i < 300; i++) {
			s.setInt(1, 1000 + i);
			if (i % 2 == 0) s.setString(2, "b" + i);
			else s.setNull(2, Types.VARCHAR);
			s.addBatch();
		}
		int done = s.executeBatch().length;
		String n = query(c, "select count(*), count(body) from notes where id >= 1000");
		c.createStatement().execute("delete from notes where id >= 1000");
		return done + n;
	}

	static void rest(Connection c) throws Exception {
		PGConnection pg = c.unwrap(PGConnection.class);
		step("batch", () -> batch(c));
		step("batch that fails", () -> {
			Statement s = c.createStatement();
			s.addBatch("insert into notes values (2000, 1, 'x')");
			s.addBatch("insert into notes values (2000, 1, 'x')");
			s.addBatch("insert into notes values (2001, 1, 'x')");
			return s.executeBatch().length;
		});
		step("keys", () -> {
			PreparedStatement s = c.prepareStatement("insert into people (name) values ('k')", Statement.RETURN_GENERATED_KEYS);
			s.executeUpdate();
			return rows(s.getGeneratedKeys());
		});
		step("fetch size", () -> {
			c.setAutoCommit(false);
			PreparedStatement s = c.prepareStatement("select generate_series(1, 1000) as g");
			s.setFetchSize(7);
			ResultSet r = s.executeQuery();
			int sum = 0;
			while (r.next()) sum += r.getInt(1);
			c.commit();
			return sum;
		});
		step("fetch size, two at once", () -> {
			PreparedStatement a = c.prepareStatement("select generate_series(1, 20)");
			PreparedStatement b = c.prepareStatement("select generate_series(101, 120)");
			a.setFetchSize(3);
			b.setFetchSize(4);
			ResultSet ra = a.executeQuery();
			ResultSet rb = b.executeQuery();
			int sum = 0;
			while (ra.next() & rb.next()) sum += ra.getInt(1) * rb.getInt(1);
			c.commit();
			return sum;
		});
		step("fetch size, an error later", () -> {
			PreparedStatement s = c.prepareStatement("select 1 / (10 - g) from generate_series(1, 20) g");
			s.setFetchSize(3);
			ResultSet r = s.executeQuery();
			int n = 0;
			try {
				while (r.next()) n++;
			} finally {
				System.out.println("rows " + n);
				c.rollback();
			}
			return n;
		});
		step("max rows", () -> {
			Statement s = c.createStatement();
			s.setMaxRows(3);
			return rows(s.executeQuery("select generate_series(1, 10)"));
		});
		step("scroll", () -> {
			Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
			ResultSet r = s.executeQuery("select id, body from notes where id = 1");
			r.last();
			r.updateString(2, "by cursor");
			r.updateRow();
			c.rollback();
			return r.getRow();
		});
		step("savepoint", () -> {
			Savepoint sp = c.setSavepoint("s");
			try {
				query(c, "select 1/0");
			} catch (SQLException e) {
				System.out.println("in it " + e.getSQLState());
			}
			c.rollback(sp);
			String out = query(c, "select 1");
			c.commit();
			return out;
		});
		step("a failed transaction", () -> {
			try {
				query(c, "select 1/0");
			} catch (SQLException e) {
				System.out.println("in it " + e.getSQLState());
			}
			try {
				return query(c, "select 1");
			} finally {
				c.rollback();
			}
		});
		step("large object", () -> {
			LargeObjectManager m = pg.getLargeObjectAPI();
			long id = m.createLO();
			LargeObject o = m.open(id);
			o.write(new byte[70000]);
			o.seek(69990);
			byte[] end = o.read(100);
			int size = o.size();
			o.close();
			m.delete(id);
			c.commit();
			return end.length + " " + size;
		});
		c.setAutoCommit(true);
		step("copy", () -> {
			c.createStatement().execute("create temp table c(a int, b text)");
			StringBuilder b = new StringBuilder();
			for (int i = 0; i < 5000; i++) b.append(i).append("\tline\n");
			long in = pg.getCopyAPI().copyIn("copy c from stdin", new ByteArrayInputStream(b.toString().getBytes(StandardCharsets.UTF_8)));
			ByteArrayOutputStream out = new ByteArrayOutputStream();
			long n = pg.getCopyAPI().copyOut("copy c to stdout (format binary)", out);
			return in + " " + n + " " + out.size();
		});
		step("copy, bad data", () -> pg.getCopyAPI().copyIn("copy c from stdin", new ByteArrayInputStream("x\ty\n".getBytes(StandardCharsets.UTF_8))));
		step("copy, cancelled", () -> {
			var copy = pg.getCopyAPI().copyIn("copy c from stdin");
			copy.writeToCopy("1\tx\n".getBytes(StandardCharsets.UTF_8), 0, 4);
			copy.cancelCopy();
			return query(c, "select count(*) from c");
		});
		step("call", () -> {
			CallableStatement s = c.prepareCall("{? = call app.twice(?)}");
			s.registerOutParameter(1, Types.INTEGER);
			s.setInt(2, 21);
			s.execute();
			return s.getInt(1);
		});
		step("array", () -> {
			PreparedStatement s = c.prepareStatement("select name from people where id = any(?) order by 1");
			Array a = c.createArrayOf("int4", new Object[] {1, 2});
			s.setArray(1, a);
			return rows(s.executeQuery());
		});
		step("warnings", () -> {
			Statement s = c.createStatement();
			s.executeQuery("select app.loud('x')");
			StringBuilder b = new StringBuilder();
			for (SQLWarning w = s.getWarnings(); w != null; w = w.getNextWarning()) b.append(w.getMessage());
			return b;
		});
		step("notifications", () -> {
			query2(c, "listen ch");
			query2(c, "notify ch, 'payload'");
			StringBuilder b = new StringBuilder();
			for (PGNotification n : pg.getNotifications(10000)) b.append(n.getName()).append(n.getParameter());
			return b;
		});
		step("query timeout", () -> {
			Statement s = c.createStatement();
			s.setQueryTimeout(1);
			return rows(s.executeQuery("select pg_sleep(60)"));
		});
		step("cancel", () -> {
			Statement s = c.createStatement();
			Thread t = new Thread(() -> {
				try (Connection look = connect(); Statement q = look.createStatement()) {
					String running = "select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'";
					for (int i = 0; i < 1500 && !q.executeQuery(running).next(); i++) Thread.sleep(20);
					s.cancel();
				} catch (Exception e) {
					System.out.println(e);
				}
			});
			t.start();
			try {
				return rows(s.executeQuery("select pg_sleep(60)"));
			} finally {
				t.join();
			}
		});
		step("metadata", () -> {
			DatabaseMetaData m = c.getMetaData();
			return rows2(m.getTables(null, "public", "%", new String[] {"TABLE", "VIEW"}), "TABLE_NAME", "TABLE_TYPE")
				+ rows2(m.getColumns(null, "public", "notes", "%"), "COLUMN_NAME", "TYPE_NAME", "IS_NULLABLE")
				+ rows2(m.getImportedKeys(null, "public", "notes"), "PKTABLE_NAME", "FKCOLUMN_NAME")
				+ rows2(m.getIndexInfo(null, "public", "notes", false, true), "INDEX_NAME");
		});
		step("isolation", () -> {
			c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
			c.setReadOnly(true);
			c.setAutoCommit(false);
			String out = query(c, "select current_setting('transaction_isolation'), current_setting('transaction_read_only')");
			c.commit();
			c.setAutoCommit(true);
			c.setReadOnly(false);
			return out;
		});
		step("valid", () -> c.isValid(5));
		step("schema", () -> {
			c.setSchema("app");
			return c.getSchema() + query(c, "select twice(2)");
		});
		step("terminated", () -> query(c, "select pg_terminate_backend(pg_backend_pid())"));
		step("closed", () -> c.isClosed());
	}

	static void query2(Connection c, String sql) throws SQLException {
		try (Statement s = c.createStatement()) {
			s.execute(sql);
		}
	}

	static String rows2(ResultSet r, String... columns) throws SQLException {
		StringBuilder b = new StringBuilder();
		while (r.next()) {
			for (String c : columns) b.append(r.getString(c)).append(' ');
			b.append("| ");
		}
		return b.toString();
	}
}
