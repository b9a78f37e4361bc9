-- The nodes that answer for somebody, one step in the index for each.
-- $1 this node
WITH RECURSIVE answering AS (
    (SELECT node FROM user_presence WHERE look_at IS NULL AND status <> 'offline' ORDER BY node LIMIT 1)
    UNION ALL
    SELECT (
        SELECT p.node FROM user_presence AS p
        WHERE p.look_at IS NULL AND p.status <> 'offline' AND p.node > a.node ORDER BY p.node LIMIT 1
    )
    FROM answering AS a WHERE a.node IS NOT NULL
)
SELECT node AS "node!: NodeId" FROM answering WHERE node <> $1
