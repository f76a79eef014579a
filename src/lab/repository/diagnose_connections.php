<?php
# Who holds the connections, and whether that is too many.
require __DIR__ . '/connection_helpers.php';
$db = connect_from_environment();
[ $used, $limit ] = connection_usage( $db );
printf( "%d of %d connections in use (%d%%)\n", $used, $limit, 100 * $used / $limit );
foreach ( $db->query( 'SELECT command, COUNT(*) AS n FROM information_schema.processlist GROUP BY command' ) as $row ) {
	printf( "%-10s %d\n", $row['command'], $row['n'] );
}
echo $used / $limit < 0.4 ? "usage is low\n" : "usage is still high: run kill_idle_connections.php\n";
