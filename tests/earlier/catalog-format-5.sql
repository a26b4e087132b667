PRAGMA user_version = 5;
BEGIN TRANSACTION;
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL,
    sha256 TEXT NOT NULL REFERENCES photo, old TEXT NOT NULL, new TEXT NOT NULL, why TEXT NOT NULL
, before TEXT NOT NULL DEFAULT '', after TEXT NOT NULL DEFAULT '', score REAL, based INTEGER, undoes INTEGER REFERENCES event, request TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "event" VALUES(1,'2026-11-30T04:34:37+00:00','ann','relabel','0000000000000000000000000000000000000000000000000000000000000006','teddy','grizzly','looks like one','{"label": "teddy", "status": "ok", "reason": ""}','{"label": "grizzly", "status": "ok", "reason": ""}',0.8,NULL,NULL,'r1');
INSERT INTO "event" VALUES(2,'2026-11-30T04:34:37+00:00','bob','drop','0000000000000000000000000000000000000000000000000000000000000002','ok','dropped','a cup','{"label": "teddy", "status": "ok", "reason": ""}','{"label": "teddy", "status": "dropped", "reason": "a cup"}',NULL,NULL,NULL,'r2');
INSERT INTO "event" VALUES(3,'2026-11-30T04:34:37+00:00','bob','undo','0000000000000000000000000000000000000000000000000000000000000002','dropped','ok','takes back event 2','{"label": "teddy", "status": "dropped", "reason": "a cup"}','{"label": "teddy", "status": "ok", "reason": ""}',NULL,NULL,2,'6dbd045fc11840e9bba57b9cf3904978');
CREATE TABLE new_class (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL, label TEXT NOT NULL,
    request TEXT NOT NULL UNIQUE, "after" INTEGER NOT NULL, undone INTEGER NOT NULL
) STRICT;
INSERT INTO "new_class" VALUES(1,'2026-11-30T10:00:00+00:00','ann','polar','r9',3,0);
CREATE TABLE "photo" (
    sha256 TEXT PRIMARY KEY, origin TEXT NOT NULL, label TEXT NOT NULL, format TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, bytes INTEGER NOT NULL, dhash TEXT NOT NULL,
    contrast REAL NOT NULL, "group" TEXT, split TEXT CHECK (split IN ('train', 'valid', 'test')),
    status TEXT NOT NULL CHECK (status IN ('ok', 'unusable', 'duplicate', 'dropped', 'unlabelled')),
    reason TEXT NOT NULL,
    CHECK (label <> '' OR status NOT IN ('ok', 'duplicate')),
    CHECK (label = '' OR status <> 'unlabelled')
) STRICT;
INSERT INTO "photo" VALUES('0000000000000000000000000000000000000000000000000000000000000001','https://a.example/0.jpg','grizzly','jpeg',96,64,1000,'f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0',50.0,'0000000000000000000000000000000000000000000000000000000000000001','train','ok','');
INSERT INTO "photo" VALUES('0000000000000000000000000000000000000000000000000000000000000002','https://a.example/1.jpg','teddy','jpeg',96,64,1001,'f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0',50.0,'0000000000000000000000000000000000000000000000000000000000000002','valid','ok','');
INSERT INTO "photo" VALUES('0000000000000000000000000000000000000000000000000000000000000003','https://a.example/2.jpg','grizzly','jpeg',96,64,1002,'f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0',50.0,'0000000000000000000000000000000000000000000000000000000000000003','test','ok','');
INSERT INTO "photo" VALUES('0000000000000000000000000000000000000000000000000000000000000004','https://a.example/3.jpg','grizzly','jpeg',96,64,1003,'f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0',50.0,'0000000000000000000000000000000000000000000000000000000000000004',NULL,'unusable','ACROSS_SPLITS: near-copy of 000000000000 and of photos in another split');
INSERT INTO "photo" VALUES('0000000000000000000000000000000000000000000000000000000000000005','https://a.example/4.jpg','grizzly','jpeg',96,64,1004,'f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0',50.0,'0000000000000000000000000000000000000000000000000000000000000005',NULL,'duplicate','NEAR_COPY of 000000000000');
INSERT INTO "photo" VALUES('0000000000000000000000000000000000000000000000000000000000000006','https://a.example/5.jpg','grizzly','jpeg',96,64,1005,'f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0',50.0,'0000000000000000000000000000000000000000000000000000000000000006','train','ok','');
INSERT INTO "photo" VALUES('0000000000000000000000000000000000000000000000000000000000000063','/photos/99.png','','jpeg',96,64,1000,'f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0f83e0',50.0,NULL,NULL,'unlabelled','');
CREATE TABLE published (
    id INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, version INTEGER NOT NULL,
    at TEXT NOT NULL, photos TEXT NOT NULL
) STRICT;
INSERT INTO "published" VALUES(1,'bears',1,'2026-11-03T10:00:00+00:00','{"0000000000000000000000000000000000000000000000000000000000000001": "train", "0000000000000000000000000000000000000000000000000000000000000003": "test"}');
CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stage TEXT NOT NULL, started TEXT NOT NULL,
    seconds REAL NOT NULL, inputs TEXT NOT NULL, outcome TEXT NOT NULL
) STRICT;
INSERT INTO "run" VALUES(1,'screen','2026-11-01T11:00:00+00:00',0.5,'3:abc','{"ok": 4}');
CREATE TABLE "search_page" (
    engine TEXT NOT NULL, query TEXT NOT NULL, page INTEGER NOT NULL, options TEXT NOT NULL,
    at TEXT NOT NULL, code TEXT NOT NULL, found INTEGER NOT NULL,
    PRIMARY KEY (engine, query, page, options)
) STRICT;
INSERT INTO "search_page" VALUES('bing','grizzly bear',1,'us-en','2026-11-01T10:00:00+00:00','OK',35);
INSERT INTO "search_page" VALUES('bing','grizzly bear',2,'us-en','2026-11-01T10:00:00+00:00','EMPTY',0);
CREATE TABLE source (
    origin TEXT PRIMARY KEY, label TEXT NOT NULL, kind TEXT NOT NULL, stamp TEXT NOT NULL,
    code TEXT NOT NULL, sentence TEXT NOT NULL, sha256 TEXT REFERENCES photo
, "query" TEXT NOT NULL DEFAULT '', "engine" TEXT NOT NULL DEFAULT '', "rank" INTEGER NOT NULL DEFAULT 0, "page" TEXT NOT NULL DEFAULT '', "thumbnail" TEXT NOT NULL DEFAULT '', "title" TEXT NOT NULL DEFAULT '', "author" TEXT NOT NULL DEFAULT '', "licence" TEXT NOT NULL DEFAULT '', "licence_url" TEXT NOT NULL DEFAULT '', "final_url" TEXT NOT NULL DEFAULT '', "address" TEXT NOT NULL DEFAULT '', "at" TEXT NOT NULL DEFAULT '', "http" INTEGER NOT NULL DEFAULT 0, "type" TEXT NOT NULL DEFAULT '', "bytes" INTEGER NOT NULL DEFAULT 0, "opt_out" TEXT NOT NULL DEFAULT '', "via" TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "source" VALUES('https://a.example/0.jpg','grizzly','web','','OK','','0000000000000000000000000000000000000000000000000000000000000001','grizzly bear','bing',1,'https://a.example/p0','','','Ann','cc by 4.0','','','','',0,'',0,'','');
INSERT INTO "source" VALUES('https://a.example/1.jpg','grizzly','web','','OK','','0000000000000000000000000000000000000000000000000000000000000002','grizzly bear','bing',2,'https://a.example/p1','','','Ann','cc by 4.0','','','','',0,'',0,'','');
INSERT INTO "source" VALUES('https://a.example/2.jpg','grizzly','web','','OK','','0000000000000000000000000000000000000000000000000000000000000003','grizzly bear','bing',3,'https://a.example/p2','','','Ann','cc by 4.0','','','','',0,'',0,'','');
INSERT INTO "source" VALUES('https://a.example/3.jpg','grizzly','web','','OK','','0000000000000000000000000000000000000000000000000000000000000004','grizzly bear','bing',4,'https://a.example/p3','','','Ann','cc by 4.0','','','','',0,'',0,'','');
INSERT INTO "source" VALUES('https://a.example/4.jpg','grizzly','web','','OK','','0000000000000000000000000000000000000000000000000000000000000005','grizzly bear','bing',5,'https://a.example/p4','','','Ann','cc by 4.0','','','','',0,'',0,'','');
INSERT INTO "source" VALUES('https://a.example/5.jpg','grizzly','web','','OK','','0000000000000000000000000000000000000000000000000000000000000006','grizzly bear','bing',6,'https://a.example/p5','','','Ann','cc by 4.0','','','','',0,'',0,'','');
INSERT INTO "source" VALUES('https://b.example/x.jpg','teddy','web','','GONE','410 Gone',NULL,'','',0,'','','','','','','','','',0,'',0,'','');
INSERT INTO "source" VALUES('/photos/99.png','','unlabelled','9-9','OK','','0000000000000000000000000000000000000000000000000000000000000063','','',0,'','','','','','','','','',0,'',0,'','');
CREATE TABLE takedown (
    kind TEXT NOT NULL CHECK (kind IN ('domain', 'url', 'sha256')), value TEXT NOT NULL,
    at TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL, PRIMARY KEY (kind, value)
) STRICT;
INSERT INTO "takedown" VALUES('domain','gone.example','2026-11-02T10:00:00+00:00','ann','asked by mail');
CREATE INDEX event_sha256 ON event (sha256);
CREATE INDEX event_request ON event (request);
CREATE UNIQUE INDEX event_undoes ON event (undoes);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('published',1);
INSERT INTO "sqlite_sequence" VALUES('run',1);
INSERT INTO "sqlite_sequence" VALUES('event',3);
INSERT INTO "sqlite_sequence" VALUES('new_class',1);
COMMIT;
