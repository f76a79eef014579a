<?php
# Kills what has slept for a minute or more.
require __DIR__ . '/connection_helpers.php';
$db = connect_from_environment();
$killed = 0;
foreach ( $db->query( "SELECT id FROM information_schema.processlist WHERE command = 'Sleep' AND time >= 60" ) as $row ) {
	$db->exec( 'KILL ' . (int)$row['id'] );
	$killed++;
}
printf( "%d idle connections killed\n", $killed );
