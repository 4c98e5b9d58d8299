// What somebody does with pgjdbc on the first day. Argument: the port.
import java.math.BigDecimal;
import java.sql.*;
import java.time.OffsetDateTime;
import java.util.*;

public class Day {
    static String rows(ResultSet found) throws SQLException {
        StringBuilder all = new StringBuilder();
        int width = found.getMetaData().getColumnCount();
        while (found.next()) {
            for (int column = 1; column <= width; column++) {
                all.append(found.getString(column)).append(column < width ? "," : ";");
            }
        }
        found.close();
        return all.toString();
    }

    /** Some columns of all rows. */
    static String listed(ResultSet found, String... columns) throws SQLException {
        StringBuilder all = new StringBuilder();
        while (found.next()) {
            for (int at = 0; at < columns.length; at++) {
                all.append(found.getString(columns[at])).append(at + 1 < columns.length ? " " : ";");
            }
        }
        found.close();
        return all.toString();
    }

    /** The same, by the first one's order. */
    static String inOrder(ResultSet found, String by, String... columns) throws SQLException {
        TreeMap<String, String> rows = new TreeMap<>();
        while (found.next()) {
            StringBuilder row = new StringBuilder();
            for (int at = 0; at < columns.length; at++) {
                row.append(found.getString(columns[at])).append(at + 1 < columns.length ? " " : ";");
            }
            rows.put(found.getString(by), row.toString());
        }
        found.close();
        return String.join("", rows.values());
    }

    static void same(Object expected, Object found) {
        if (!Objects.equals(expected, found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }

    interface Act {
        void run() throws SQLException;
    }

    static void fails(String sqlState, Act act) throws SQLException {
        try {
            act.run();
        } catch (SQLException error) {
            same(sqlState, error.getSQLState());
            return;
        }
        throw new AssertionError("no error, " + sqlState + " expected");
    }

    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:postgresql://127.0.0.1:" + arguments[0] + "/postgres?user=postgres";
        for (String options : new String[] {"", "&prepareThreshold=1", "&preferQueryMode=simple", "&reWriteBatchedInserts=true"}) {
            try (Connection db = DriverManager.getConnection(url + options)) {
                day(db);
            }
        }
        System.out.println("done");
    }

    static void day(Connection db) throws SQLException {
        Statement any = db.createStatement();
        any.executeUpdate("create table jdbc_day (id int primary key, small smallint, big bigint, price numeric(10,2),"
            + " name text, raw bytea, born date, seen timestamp, known timestamptz, single real, double double precision,"
            + " ok boolean, key uuid)");
        PreparedStatement insert = db.prepareStatement("insert into jdbc_day values (?,?,?,?,?,?,?,?,?,?,?,?,?)");
        boolean simple = db.unwrap(org.postgresql.PGConnection.class).getPreferQueryMode()
            == org.postgresql.jdbc.PreferQueryMode.SIMPLE;
        for (int id = 0; id < 12; id++) {
            insert.setInt(1, id);
            insert.setShort(2, (short) 2);
            insert.setLong(3, 3L);
            insert.setBigDecimal(4, new BigDecimal("4.5"));
            insert.setString(5, "it's " + id);
            if (simple) {
                insert.setNull(6, Types.BINARY); // the simple mode of this driver cannot send bytes
            } else {
                insert.setBytes(6, new byte[] {0, -1});
            }
            insert.setDate(7, java.sql.Date.valueOf("2020-01-01"));
            insert.setTimestamp(8, Timestamp.valueOf("2020-01-01 12:00:00.123"));
            insert.setObject(9, OffsetDateTime.parse("2020-01-01T00:00:00Z"));
            insert.setFloat(10, 1.5f);
            insert.setDouble(11, 2.5);
            insert.setBoolean(12, true);
            insert.setObject(13, new UUID(0, 5));
            same(1, insert.executeUpdate());
        }
        for (int id = 100; id < 110; id++) {
            insert.setInt(1, id);
            for (int column = 2; column <= 13; column++) {
                insert.setNull(column, Types.NULL);
            }
            insert.addBatch();
        }
        same(10, insert.executeBatch().length);

        PreparedStatement byId = db.prepareStatement("select name, price, born, known, ok, key from jdbc_day where id = ?");
        for (int id = 0; id < 10; id++) {
            byId.setInt(1, id);
            try (ResultSet found = byId.executeQuery()) {
                found.next();
                same("it's " + id, found.getString(1));
                same(new BigDecimal("4.50"), found.getBigDecimal(2));
                same(java.sql.Date.valueOf("2020-01-01"), found.getDate(3));
                same(OffsetDateTime.parse("2020-01-01T00:00:00Z").toInstant(), found.getTimestamp(4).toInstant());
                same(true, found.getBoolean(5));
                same(new UUID(0, 5), found.getObject(6));
            }
        }
        PreparedStatement some = db.prepareStatement("select id from jdbc_day where seen >= ? and born = ? order by id limit ? offset ?");
        some.setTimestamp(1, Timestamp.valueOf("2020-01-01 00:00:00"));
        some.setDate(2, java.sql.Date.valueOf("2020-01-01"));
        some.setInt(3, 2);
        some.setInt(4, 1);
        same("1;2;", rows(some.executeQuery()));

        // Rows in parts of three, and no more than three.
        db.setAutoCommit(false);
        Statement parts = db.createStatement();
        parts.setFetchSize(3);
        same("0;1;2;3;4;5;6;7;8;9;10;11;", rows(parts.executeQuery("select id from jdbc_day where id < 100 order by id")));
        db.commit();
        fails("23505", () -> any.executeUpdate("insert into jdbc_day (id) values (1)"));
        fails("25P02", () -> any.executeQuery("select 1"));
        db.rollback();
        any.executeUpdate("insert into jdbc_day (id) values (800)");
        Savepoint before = db.setSavepoint();
        fails("23505", () -> any.executeUpdate("insert into jdbc_day (id) values (801), (800)"));
        db.rollback(before);
        any.executeUpdate("insert into jdbc_day (id) values (802)");
        db.releaseSavepoint(before);
        same("800;802;", rows(any.executeQuery("select id from jdbc_day where id >= 800 order by id")));
        db.rollback();
        // A savepoint before every statement: one that fails spoils nothing.
        try (Connection saving = DriverManager.getConnection(db.getMetaData().getURL() + "&autosave=always")) {
            saving.setAutoCommit(false);
            Statement careful = saving.createStatement();
            for (int id = 900; id < 910; id++) {
                careful.executeUpdate("insert into jdbc_day (id) values (" + id + ")");
                fails("23505", () -> careful.executeUpdate("insert into jdbc_day (id) values (950), (900)"));
            }
            same("10;", rows(careful.executeQuery("select count(*) from jdbc_day where id >= 900")));
            saving.rollback();
        }
        db.setAutoCommit(true);
        Statement few = db.createStatement();
        few.setMaxRows(3);
        if (!simple) { // where it is the server that counts
            same("0;1;2;", rows(few.executeQuery("select id from jdbc_day order by id")));
        }

        db.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
        same(Connection.TRANSACTION_REPEATABLE_READ, db.getTransactionIsolation());
        db.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        PreparedStatement escaped = db.prepareStatement("select {fn upper('a')}, {d '2020-01-01'}, {ts '2020-01-01 00:00:00'}");
        same("A,2020-01-01,2020-01-01 00:00:00;", rows(escaped.executeQuery()));

        ResultSetMetaData shape = db.prepareStatement("select id, price, name, price + 1 from jdbc_day").getMetaData();
        same("numeric 10 2 jdbc_day", shape.getColumnTypeName(2) + " " + shape.getPrecision(2) + " " + shape.getScale(2)
            + " " + ((org.postgresql.PGResultSetMetaData) shape).getBaseTableName(2));
        same("numeric 0 0", shape.getColumnTypeName(4) + " " + shape.getPrecision(4) + " " + shape.getScale(4));
        DatabaseMetaData meta = db.getMetaData();
        try (ResultSet tables = meta.getTables(null, "public", "jdbc_day", new String[] {"TABLE"})) {
            tables.next();
            same("jdbc_day", tables.getString("TABLE_NAME"));
        }
        StringBuilder columns = new StringBuilder();
        try (ResultSet found = meta.getColumns(null, "public", "jdbc_day", null)) {
            while (found.next()) {
                columns.append(found.getString("COLUMN_NAME")).append(' ').append(found.getString("TYPE_NAME")).append(';');
            }
        }
        same("id int4;small int2;big int8;price numeric;name text;raw bytea;born date;seen timestamp;known timestamptz;"
            + "single float4;double float8;ok bool;key uuid;", columns.toString());
        any.executeUpdate("create table jdbc_pair (a int, b int, note text, primary key (b, a))");
        any.executeUpdate("create view jdbc_view as select a from jdbc_pair");
        same("b 1 jdbc_pair_pkey;a 2 jdbc_pair_pkey;", inOrder(meta.getPrimaryKeys(null, "public", "jdbc_pair"),
            "KEY_SEQ", "COLUMN_NAME", "KEY_SEQ", "PK_NAME"));
        same("b 1 jdbc_pair_pkey f;a 2 jdbc_pair_pkey f;", listed(meta.getIndexInfo(null, "public", "jdbc_pair", true, false),
            "COLUMN_NAME", "ORDINAL_POSITION", "INDEX_NAME", "NON_UNIQUE"));
        same("jdbc_view VIEW;", listed(meta.getTables(null, "public", "jdbc_v%", null), "TABLE_NAME", "TABLE_TYPE"));
        same("a;b;", inOrder(meta.getBestRowIdentifier(null, "public", "jdbc_pair", 0, true), "COLUMN_NAME", "COLUMN_NAME"));
        same(true, listed(meta.getTypeInfo(), "TYPE_NAME").contains("timestamptz;"));
        same("split_part;", listed(meta.getFunctions(null, "pg_catalog", "split_part"), "FUNCTION_NAME"));
        same(true, listed(meta.getSchemas(), "TABLE_SCHEM").contains("public;"));
        same(true, listed(meta.getTablePrivileges(null, "public", "jdbc_pair"), "GRANTEE", "PRIVILEGE").contains("postgres SELECT;"));
        same(true, meta.getSQLKeywords().contains("analyse"));
        same("regclass,integer;", rows(any.executeQuery("select pg_typeof('jdbc_pair'::regclass), pg_typeof(1)")));
        same("jdbc_pair;", rows(any.executeQuery("select 'jdbc_pair'::regclass")));
        any.executeUpdate("drop view jdbc_view");
        any.executeUpdate("drop table jdbc_pair");
        same(true, db.isValid(3));
        any.executeUpdate("drop table jdbc_day");
    }
}
