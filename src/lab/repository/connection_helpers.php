<?php
function connect_from_environment(): PDO {
	$url = parse_url( getenv( 'JAWSDB_MARIA_URL' ) );
	$dsn = sprintf( 'mysql:host=%s;port=%d;dbname=%s', $url['host'], $url['port'] ?? 3306, ltrim( $url['path'], '/' ) );
	return new PDO( $dsn, $url['user'], $url['pass'], [ PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION ] );
}

function connection_usage( PDO $db ): array {
	$used = $db->query( "SHOW GLOBAL STATUS LIKE 'Threads_connected'" )->fetch()[1];
	return [ (int)$used, (int)$db->query( 'SELECT @@max_connections' )->fetchColumn() ];
}
